"""The audit, events and webhooks, evidence and photos."""
