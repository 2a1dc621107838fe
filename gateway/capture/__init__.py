"""What tenants let us keep of their traffic: cleaned, sealed and written after the answer."""
