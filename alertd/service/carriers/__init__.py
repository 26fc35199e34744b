"""The carriers of this installation: their state, logins, health, limits by domain, and the decision to retry."""
