"""The dataset folder, and the readers that make one."""
