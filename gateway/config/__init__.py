"""`gateway.toml` and `ADAPTERS_GATEWAY_*`: the tables, and how they are read."""
