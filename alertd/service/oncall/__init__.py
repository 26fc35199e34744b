"""The people on call, and how alertd pages them."""
