"""Profiles as features: fetched from the service or read from files, kept as a snapshot."""
