"""Organisations, operators, keys and regions over HTTP."""
