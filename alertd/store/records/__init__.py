"""The audit, events, and the keys of cases."""
