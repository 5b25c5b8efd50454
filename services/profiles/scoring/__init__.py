"""Scores for users: a bundle that was learnt offline, loaded without torch, and its registry."""
