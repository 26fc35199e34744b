"""HTTP operations on organisations, operators, API keys, sign-in, the master key and regions."""
