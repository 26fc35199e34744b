"""HTTP operations on subscribers, the suppression list, and receipts."""
