"""An alert from its submission to its results: intake, approval, updates, follow-ups and stops."""
