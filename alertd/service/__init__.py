"""Use cases: what the API and the workers ask for, one subject a file."""
