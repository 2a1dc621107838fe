"""The command `adapters`: one file for each command group."""
