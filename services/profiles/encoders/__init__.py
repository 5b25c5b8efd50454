"""Sentence encoders: the protocol, its implementations, and their registry."""
