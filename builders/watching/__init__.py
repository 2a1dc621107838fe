"""Is the release of an alias worse than the one before it? One may look as often as one likes."""
