"""The prompts: a module for each version, and the registry of all of them."""
