"""Groups the input by id on disk, in little memory."""
