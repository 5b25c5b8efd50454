"""Datasets: the folder format, readers, splits and the audit."""
