"""Organisations, operators, API keys, sessions and rotas."""
