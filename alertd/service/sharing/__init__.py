"""CAP in and out, public feeds, and distributors."""
