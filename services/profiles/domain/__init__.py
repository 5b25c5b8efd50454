"""The values that every part of the service hands to the next. Imports no other part."""
