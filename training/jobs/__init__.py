"""Training jobs, one module each."""
