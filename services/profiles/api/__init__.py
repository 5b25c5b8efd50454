"""The HTTP surface: thin endpoints, schemas, and one table from errors to statuses."""
