"""The same objects of a registry behind a server: each asks what its local namesake answers."""
