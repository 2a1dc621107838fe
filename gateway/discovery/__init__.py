"""Engines that are found, not listed: who says which there are, and how a gateway follows that."""
