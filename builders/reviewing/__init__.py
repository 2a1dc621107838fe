"""People compare two releases' answers to the same test rows, without knowing whose they are."""
