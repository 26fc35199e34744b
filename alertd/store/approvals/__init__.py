"""What waits for approval: updates, permissions, and approvals by one person."""
