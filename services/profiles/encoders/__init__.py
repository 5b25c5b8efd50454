"""Sentence encoders: what the service asks of one, and two that do it."""
