"""Builders of what models are trained on."""
