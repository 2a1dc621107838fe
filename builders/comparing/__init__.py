"""One task trained with several methods on the same rows and seed, and their scores compared."""
