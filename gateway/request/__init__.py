"""One request from its first byte to its last: `exchange.py` is the whole path."""
