"""Where profiles and the catalogue are kept."""
