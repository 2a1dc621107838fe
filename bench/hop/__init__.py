"""What `bench.gateway_hop` measures: the ways to an engine, a lean client, and the load."""
