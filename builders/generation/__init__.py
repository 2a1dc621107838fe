"""What a model generates with in Hugging Face's `generate`: its cache, and how it attends."""
