"""The configuration: one TOML file, overridden by environment variables `ALERTD_*`."""
