"""Datasets as releases: rows that have a name, versions, lineage and an owner; sealed test sets."""
