"""Messages of an alert, and an organisation's own texts."""
