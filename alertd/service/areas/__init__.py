"""Targets, regions and jurisdictions: turns a target into an area and estimates its reach."""
