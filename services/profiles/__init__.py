"""The profile service: generates, caches and serves profiles of users and items."""
