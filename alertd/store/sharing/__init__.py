"""Webhooks, and what distributors have of alerts."""
