"""The command line of `reclm-recommend`: one module a group of commands. Heavy imports wait until a command runs."""
