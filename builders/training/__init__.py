"""Training: one optimizer loop for every method, in a process of its own."""
