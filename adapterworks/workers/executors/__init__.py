"""Where a worker can be started: one file a kind of place, all with one protocol."""
