"""The whole stack on one machine: fetched, started, shown and stopped."""
