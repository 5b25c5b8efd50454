"""The version of RecLM, for the service and for the client: they are released together."""

__version__ = "0.1.0"
