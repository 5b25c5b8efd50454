"""What writes the text of profiles."""
