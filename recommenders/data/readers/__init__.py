"""One file a source: published files in, a checked Dataset out."""
