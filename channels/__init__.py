"""Ways to reach a phone or a mailbox: one outside service a file, asynchronous, knowing nothing of alertd."""
