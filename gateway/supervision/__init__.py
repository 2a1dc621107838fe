"""What runs in the background, and whether it still does."""
