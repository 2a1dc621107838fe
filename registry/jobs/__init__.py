"""Files of tenants and the queue of jobs: where builders' and gateway's sides meet."""
