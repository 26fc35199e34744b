"""Channels to a phone or a mailbox: one outside service per module, asynchronous, independent of alertd."""

#: A package on PyPI has the same name and would silently merge with this one. Start-up checks this mark.
OWNER = "alertd"
