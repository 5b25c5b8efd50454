"""Reads interactions, items and histories of any size and format, block by block."""
