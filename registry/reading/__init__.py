"""What is read of releases: verified files, checkouts, differences, lineage."""
