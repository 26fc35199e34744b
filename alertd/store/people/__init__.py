"""Subscribers, and the index of where they are."""
