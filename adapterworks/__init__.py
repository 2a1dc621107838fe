"""Composition root: settings, the `adapters` command and the rendering of errors."""

__version__ = "0.1.0"
