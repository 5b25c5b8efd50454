"""Builders of instruction data, one module each."""
