"""What happens to releases: published, aliased, signed, verified, leased, collected."""
