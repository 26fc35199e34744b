"""Targets, regions and jurisdictions: from a target to an area and its reach."""
