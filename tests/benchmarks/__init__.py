"""Benchmarks: `python -m tests.benchmarks [--only GROUP]`, or `make bench ONLY=GROUP`."""
