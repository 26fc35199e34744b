"""Store of the sending of alerts: the ledger (a row for each message), leases (rows that one worker sends) and the gate (permission to
send).
"""
