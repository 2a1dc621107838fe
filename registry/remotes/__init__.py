"""Registries elsewhere, from which releases are pulled and to which they are pushed."""
