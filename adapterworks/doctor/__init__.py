"""`adapters doctor`: what is checked on this machine, and what would make it faster."""
