"""An alert from its submission to its results: approval, updates, follow-ups, stops."""
