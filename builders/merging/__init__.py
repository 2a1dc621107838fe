"""Several adapters of one base made into one, by PEFT's rules."""
