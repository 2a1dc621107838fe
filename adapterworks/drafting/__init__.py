"""A first manifest from a file of rows: look.py looks, columns.py guesses, write.py writes."""
