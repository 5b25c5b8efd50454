"""Everything that scores items for users, each model in a file of its own."""
