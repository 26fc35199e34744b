"""Ways to reach a phone or a mailbox: one outside service a file, asynchronous, knowing nothing of alertd."""

#: PyPI has another package of this name, which would silently merge with this one: start-up looks for this mark.
OWNER = "alertd"
