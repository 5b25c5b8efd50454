"""The prompts, a module for each version."""
