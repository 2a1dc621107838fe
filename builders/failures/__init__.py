"""What a release got wrong: gathered, clustered, and turned into rows to learn from."""
