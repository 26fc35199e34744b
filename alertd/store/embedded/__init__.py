"""The embedded Valkey server: its process, its files and its backups."""
