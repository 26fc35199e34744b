"""The ledger, leases and the gate."""
