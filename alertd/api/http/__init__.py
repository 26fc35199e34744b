"""Shared handling of every HTTP call: the caller, the body, the answer."""
