"""Limits, logins and tests of carriers, and what messages cost."""
