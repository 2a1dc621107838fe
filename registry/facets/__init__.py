"""What a registry is asked beside its everyday verbs: an object for each concern."""
