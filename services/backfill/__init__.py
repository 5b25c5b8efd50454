"""Profiles for everybody there is: `reclm-serve backfill` asks the service row by row."""
