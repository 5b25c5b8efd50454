"""Adapter folders: manifest, merging into the base model, publishing."""
