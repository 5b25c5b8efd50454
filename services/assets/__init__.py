"""Fetches and verifies what the stack needs: models, encoders, redis-server."""
