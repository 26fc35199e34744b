"""The master key and its rotation."""
