"""What exists: content-addressed releases, their versions and aliases, and base models.

Invariant: what the index lists is complete. Bytes are written and synced before the row that names
them, and a name, version or digest never comes to mean something else.
"""
