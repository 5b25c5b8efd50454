"""Evaluation of models by the profiles that they write."""
