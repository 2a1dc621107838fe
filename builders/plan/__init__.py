"""What a build would do and need, worked out before anything runs."""
