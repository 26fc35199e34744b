"""Whatever decides, discloses or changes what others are told is an act that the audit has."""

from __future__ import annotations

from alertd.api.application import OPERATIONS

#: What writes and is no act, and why not.
NO_ACT = {
    "put_subscriber", "patch_subscriber", "put_place", "drop_place", "put_address", "drop_address",  # people's own, by millions
    "take_receipt", "take_mail_reports", "take_ack", "take_distributor_receipt",  # nobody's decision: the ledger has them
    "passkey_options", "sign_in_options", "go_to_provider",  # ask for a passkey, or send to the provider, and change nothing
    "register_passkey", "sign_in", "come_from_provider",  # whose act it is is known only then: written by the service itself
    "preview_target",  # asked again and again while somebody draws: entered once a day by itself (`reach_audit`)
    "preview_messages",  # shows the caller's own words, and no count
}  # fmt: skip


def test_every_operation_that_writes_is_an_act():
    """A new one must be named, or be excused above."""
    silent = {each.id for each in OPERATIONS if each.method != "GET" and each.act is None}
    assert silent == NO_ACT


def test_every_act_has_one_name():
    """Of noun and verb, which nobody else has."""
    names = [each.act.name for each in OPERATIONS if each.act]
    assert len(set(names)) == len(names) > 15
    assert all(name.count(".") == 1 and name.islower() for name in names)


def test_acts_about_people_hide_them():
    """A path that names a subscriber or a child's case is hashed before it is written."""
    of_people = {
        each.id for each in OPERATIONS if each.act and ("/subscribers/{" in each.path or "/cases/{" in each.path)
    }
    assert of_people == {each.id for each in OPERATIONS if each.act and each.act.of_person}


def test_what_stops_harm_goes_on_when_the_disk_is_nearly_full():
    """What may not wait for the audit may not wait for room either."""
    assert [each.id for each in OPERATIONS if each.act and each.act.stops_harm and each.writes] == []
