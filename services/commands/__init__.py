"""The command line of `reclm-serve`: one module per group of commands. Heavy imports wait until a command runs."""
