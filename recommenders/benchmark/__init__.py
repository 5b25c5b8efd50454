"""`reclm-recommend benchmark`: a grid of models on one dataset, and what came out, for a sceptic."""
