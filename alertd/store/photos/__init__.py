"""Photos, each sealed under a key of its own."""
