"""The command line of `reclm-serve`: one module a group of commands. Heavy imports wait until a command runs."""
