"""A release built again from its manifest and lock, and how far apart the weights are."""
