"""`reclm-recommend study`: the quality of recommenders for new users."""
