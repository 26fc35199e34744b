"""Organisations, operators, and how operators sign in."""
