"""Whether a tenant's request may go on now: limits, and whose turn is next."""
