"""Alerts and their versions."""
