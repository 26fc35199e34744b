"""Builds the messages of alerts, and keeps the organisations' own texts."""
