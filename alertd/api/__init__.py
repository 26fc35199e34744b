"""The HTTP API. `application` puts it together."""
