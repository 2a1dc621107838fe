"""The index: tables and migrations, and queries on names, versions, aliases and the log."""
