"""Plans alerts, sends their messages through carriers, and stores the outcomes in the ledger."""
