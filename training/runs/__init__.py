"""A training run: its folder, options, callbacks and throughput."""
