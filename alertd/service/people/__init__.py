"""Subscribers: registration, suppression list, dead addresses."""
