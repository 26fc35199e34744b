"""Subscribers and their messages over HTTP."""
