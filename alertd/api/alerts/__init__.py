"""HTTP operations on alerts."""
