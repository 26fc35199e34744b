"""The store: every key and every script of Valkey or Redis is behind this package."""
