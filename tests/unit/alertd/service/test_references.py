"""A CAP Update or Cancel names the messages that it replaces, and never itself."""

from __future__ import annotations

from alertd.model.cap.messages import MsgType
from alertd.model.distribution import Entry, Track
from alertd.service.sharing.distributors import references

ALERT = Entry(identifier="X", type=MsgType.ALERT, sender="centre", sent=1_000, of="X", expires=9_000, maybe=True)
UPDATE = Entry(identifier="X.2", type=MsgType.UPDATE, sender="centre", sent=2_000, of="X.2", expires=9_000, maybe=True)


def test_a_message_that_is_sent_again_does_not_name_itself():
    """Its first try may have arrived: the distributor did not say."""
    track = Track(entries=(ALERT, UPDATE))
    assert [one.identifier for one in references(track, UPDATE)] == ["X"]
    assert references(track, ALERT) == ()
