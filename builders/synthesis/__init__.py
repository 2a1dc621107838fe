"""Rows that a model writes from documents, each with the passage that proves it."""
