"""`/v1/registry`: the registry over HTTP, one table of paths with the role that each asks for."""
