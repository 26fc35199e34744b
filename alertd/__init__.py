"""alertd: takes an alert, finds everyone who belongs to the place it concerns, and hands it to the carriers."""

__version__ = "0.1.0"
