"""Runs the whole stack on one machine: fetches, starts, demonstrates and stops it."""
