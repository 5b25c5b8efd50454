"""The kinds of folder that can be rewritten: one module each, and their registry."""
