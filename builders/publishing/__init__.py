"""What a build gives the registry: the release's folder, card, plots and `adapter.lock`."""
