"""Where the service keeps profiles, items, interactions, refreshes and the names of scorers."""
