"""The values: a release's record, the index's answers, and paths and names in them."""
