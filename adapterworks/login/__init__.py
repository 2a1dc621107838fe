"""Logging in to a registry's server with its issuer: the browser's way, and how it is kept."""
