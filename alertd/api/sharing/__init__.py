"""HTTP operations for CAP, distributors, events and webhooks."""
