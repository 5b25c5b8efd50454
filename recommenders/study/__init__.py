"""`reclm-recommend study`: what a recommender is worth to somebody of whom little is known."""
