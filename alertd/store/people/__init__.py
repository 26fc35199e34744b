"""Subscribers, and the index that finds them by place."""
