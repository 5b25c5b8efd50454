"""Judging models by the profiles that they write."""
