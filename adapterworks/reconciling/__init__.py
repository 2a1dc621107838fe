"""A folder of manifests is what should exist: what differs is shown as a plan and brought about."""
