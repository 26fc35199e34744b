"""HTTP operations on the installation: its carriers."""
