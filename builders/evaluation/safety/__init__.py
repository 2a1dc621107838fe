"""Refusal of harmful requests and over-refusal of harmless ones, before and after a training."""
