"""A registry that is reached over HTTP, and answers as one that is here."""
