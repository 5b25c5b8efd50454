"""Tests of the stack: real processes, started and stopped."""
