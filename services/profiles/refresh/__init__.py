"""Interactions, and the profiles that they make out of date."""
