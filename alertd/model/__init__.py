"""Values and rules of alerts, cases, subscribers and organisations. Pure: no I/O, no clock."""
