"""The command line of `reclm-recommend`: one module per group of commands. Heavy imports wait until a command runs."""
