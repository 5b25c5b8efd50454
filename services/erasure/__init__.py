"""Erases users and items from folders that RecLM wrote, and records what was erased where."""
