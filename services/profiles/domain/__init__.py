"""The values that all parts of the service exchange. Imports no other part."""
