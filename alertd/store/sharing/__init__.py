"""Webhooks, distributors, and the alerts that each distributor has."""
