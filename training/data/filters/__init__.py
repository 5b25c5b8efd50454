"""Filters of a teacher's answers and of training rows."""
