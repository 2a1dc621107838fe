"""The gateway's tables in the index and their migrations."""
