"""Updates that wait for approval, neighbours' permissions, and approvals by one person (break glass)."""
