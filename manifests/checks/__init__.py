"""Combinations that are impossible although each value is valid by itself; one part a file."""
