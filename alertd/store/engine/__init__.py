"""The connection to the store: servers, scripts, keys, time, encryption."""
