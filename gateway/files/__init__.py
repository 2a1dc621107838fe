"""Files of tenants over HTTP: read as they arrive, line by line."""
