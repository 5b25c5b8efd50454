"""Access to the service: bearer keys, and secrets read from files."""
