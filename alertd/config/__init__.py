"""The configuration: one TOML file, and `ALERTD_*` in the environment."""
