"""The carriers of this installation: their state, logins, binds, limits by domain, and the decision to retry."""
