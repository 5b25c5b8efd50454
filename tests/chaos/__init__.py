"""A fault lab: the real stack under load, one fault at a time, and invariants on every answer."""
