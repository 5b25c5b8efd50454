"""Filters of a teacher’s answers."""
