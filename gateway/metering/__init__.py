"""What was used, counted exactly once: event, spool, sums in the index."""
