"""Asking a large model, through any OpenAI-compatible server, for the profiles to learn from."""
