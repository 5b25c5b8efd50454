"""Generators: the protocol, the models that implement it, and their registry."""
