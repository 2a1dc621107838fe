"""A release with passages found for each question beside the same release without."""
