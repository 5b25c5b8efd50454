"""Cache-aside: a stored profile if it will do, else one generation for all who wait."""
