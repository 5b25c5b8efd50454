"""The command line of `reclm-train`: one module a group of commands. Heavy imports wait until a command runs."""
