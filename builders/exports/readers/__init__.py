"""Engines that read what was exported."""
