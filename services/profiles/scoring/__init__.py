"""Scores for users: bundles that were trained offline, loaded without torch, and their registry."""
