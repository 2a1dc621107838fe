"""`adapters worker`: takes jobs from the queue and runs them here, one at a time."""
