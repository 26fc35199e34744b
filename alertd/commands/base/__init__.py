"""Shared parts of commands: the client of the API, options, output."""
