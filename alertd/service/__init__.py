"""Use cases of the API and the workers, one subject a file."""
