"""The builders of `reclm-train data`: one module each, found through the registry."""
