"""Who is on call, and how alertd pages them."""
