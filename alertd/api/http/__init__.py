"""Handles what every HTTP call needs: the key or session of the caller, the body, idempotency, and the answer."""
