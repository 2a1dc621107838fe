"""A build, manifest to release: the stages in order, each done once, resumable after a kill."""
