"""Who may call the service: keys, and secrets read from files."""
