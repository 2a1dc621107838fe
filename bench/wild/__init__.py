"""Adapters as other programs save them, imported and held against the saver's own answers."""
