"""Everything that recommends: datasets, and the recommenders that use profiles as features."""
