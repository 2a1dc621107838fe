"""Ways of making rows: one file each, all of the form that `making.py` runs."""
