"""One frozen, typed request for each endpoint, parsed once."""
