"""Pages for people at `/console`, over the gateway's public API and nothing else."""
