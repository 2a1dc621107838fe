"""Who calls: tenants, their keys and what they may do, and the audit of every change."""
