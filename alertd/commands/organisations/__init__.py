"""Commands about organisations and what they own."""
