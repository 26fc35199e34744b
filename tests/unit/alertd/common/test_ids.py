"""Names: sortable ids, and tags that nobody but us can make."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.common.ids import (
    DOOR_OF,
    Reference,
    SigningKeys,
    Tags,
    TokenPurpose,
    chain_of,
    made_ms,
    new_id,
    new_public_id,
    nth_of,
    public_id_in,
    sequence_of,
    version_id,
    with_life,
)
from alertd.model.states import CHANNELS

TAGS = Tags(SigningKeys(b"k" * 32))
FIRST = "01M882R9G938BE2P8KXNZ55750"
ids = st.builds(
    lambda ms, n: new_id(ms) + (f"-{n}" if n > 1 else ""), st.integers(0, 2**48 - 1), st.integers(1, 2**11 - 1)
)
rows = st.integers(0, 2**29 - 1)
names = st.binary(min_size=12, max_size=12).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(ids, rows)
def test_tag_names_its_reference(alert_id: str, row: int):
    """What was tagged is what is read, in letters that are safe in URLs, mailboxes and Message-IDs."""
    tag = TAGS.make(alert_id, row)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", tag)
    assert len(tag) <= 64  # the local part of a mailbox
    assert TAGS.parse(tag) == Reference(alert_id, row)


def test_no_tag_is_made_for_a_row_that_it_has_no_room_for():
    """It would name another life's."""
    assert TAGS.make(FIRST, 2**29 - 1)
    with pytest.raises(ValueError, match="too high"):
        TAGS.make(FIRST, 2**29)


@given(ids, rows, st.integers(0, 240), st.integers(1, 255))
def test_tag_that_was_touched_is_refused(alert_id: str, row: int, place: int, change: int):
    """Any other letter in any place makes it nobody's."""
    tag = TAGS.make(alert_id, row)
    place %= len(tag) - 1  # the last letter has bits that stand for nothing
    other = ALPHABET[(ALPHABET.index(tag[place]) + change % 63 + 1) % 64]
    assert TAGS.parse(tag[:place] + other + tag[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "é" * 42, "=" * 10, "A" * 42, "A" * 4000, "\0", "../../etc"])
def test_no_tag_at_all_is_refused(text: str):
    """Whatever comes from outside is read without an error."""
    assert TAGS.parse(text) is None


def test_tag_of_another_installation_is_refused():
    """The key makes the difference."""
    assert TAGS.parse(Tags(SigningKeys(b"x" * 32)).make(FIRST, 1)) is None


@given(ids, rows, st.permutations(TokenPurpose))
def test_a_tag_opens_its_own_door_alone(alert_id: str, row: int, doors: list[TokenPurpose]):
    """What a carrier or an app was given for its reports stops nobody's address."""
    made_for, *others = doors
    tag = TAGS.make(alert_id, row, made_for)
    assert TAGS.parse(tag, made_for) == Reference(alert_id, row)
    assert [TAGS.parse(tag, other) for other in others] == [None] * len(others)


@given(ids, rows, names, st.sampled_from(TokenPurpose), st.integers(0, 240), st.integers(1, 255))
def test_a_tag_may_name_an_address(alert_id: str, row: int, name: str, door: TokenPurpose, place: int, change: int):
    """It names the row, too, opens its own door alone, fits into a return path, and is nobody's when it was touched."""
    tag = TAGS.make(alert_id, row, door, name)
    assert len(f"bounce+{tag}") <= 64
    assert [TAGS.parse(tag, one) for one in TokenPurpose] == [
        Reference(alert_id, row, name) if one is door else None for one in TokenPurpose
    ]
    place %= len(tag)
    other = ALPHABET[(ALPHABET.index(tag[place]) + change % 63 + 1) % 64]
    assert TAGS.parse(tag[:place] + other + tag[place + 1 :], door) is None


@pytest.mark.parametrize(
    ("tag", "door", "alert_id"),
    [
        ("AaIQLCYJGhbhWRPtflKcoAIAAAAHlvgbQEADqm0iew", TokenPurpose.RECEIPT, f"{FIRST}-2"),
        ("AaIQLCYJGhbhWRPtflKcoAIAAAAH3MCM7jZ-SplHkg", TokenPurpose.ACK, f"{FIRST}-2"),
        ("AaIQLCYJGhbhWRPtflKcoAEAAAAH_200HV5pPa2QVMFmSg", TokenPurpose.LEAVE, FIRST),
        ("AaIQLCYJGhbhWRPtflKcoAEAAAAH_200OCy0IixjYCX9gg", TokenPurpose.LEAVE, FIRST),
        ("AaIQLCYJGhbhWRPtflKcoAEAAAAH_200MYeI_eHXgq49vQ", TokenPurpose.RECEIPT, FIRST),
    ],
)
def test_a_tag_as_they_were_made_before_opens_its_door_yet(tag: str, door: TokenPurpose, alert_id: str):
    """What was sent before an upgrade is reported, acknowledged and left after it; and through no other door."""
    reference = TAGS.parse(tag, door)
    assert reference
    assert (reference.alert_id, reference.row) == (alert_id, 7)
    assert TAGS.is_for(reference, "A@example.org")
    assert TAGS.is_for(reference, "b@example.org") is (reference.to == b"")
    assert [TAGS.parse(tag, other) for other in TokenPurpose if other is not door] == [None] * 3


def test_every_channels_tag_has_its_door():
    """Nobody is sent a tag that opens nothing."""
    assert set(DOOR_OF) == set(CHANNELS)


def test_tag_with_more_behind_it_is_refused():
    """A tag is read whole."""
    assert TAGS.parse(TAGS.make(FIRST, 1) + "AAAA") is None


def test_ids_sort_by_time():
    """A later moment gives a greater id."""
    assert new_id(1) < new_id(2) < new_id(2**40)


def test_id_of_a_version_tells_its_chain():
    """The first version gives the chain its name."""
    assert (chain_of(FIRST), sequence_of(FIRST)) == (FIRST, 1)
    assert (chain_of(f"{FIRST}-12"), sequence_of(f"{FIRST}-12")) == (FIRST, 12)


def test_versions_of_a_life_have_numbers_that_none_of_an_earlier_life_had():
    """However often its store was put back, of copies of whichever life; where that can be told no more, the last one goes on."""
    lives = with_life("", 3, 1)
    assert [version_id(FIRST, n, lives) for n in (1, 3, 4, 5)] == [FIRST, f"{FIRST}-3", f"{FIRST}-260", f"{FIRST}-261"]
    assert with_life(lives, 3, 2) == "3:2"
    assert version_id(FIRST, 6, with_life(lives, 5, 7)) == f"{FIRST}-{7 * 256 + 6}"
    assert with_life(lives, 5, 0) == "3:1 5:2"  # where nobody knows how often
    assert with_life("3:7", 4, 99) == "3:7 4:7"
    assert [nth_of(one) for one in (FIRST, f"{FIRST}-3", f"{FIRST}-260")] == [1, 3, 4]


@given(st.integers(0, 2**48 - 1))
def test_an_id_tells_when_its_chain_was_made(ms: int):
    """Of a later version, too."""
    assert made_ms(f"{new_id(ms)}-2") == ms


def test_a_public_id_is_read_as_people_write_it():
    """Ten letters and digits, each time others; in small letters and with O, I and L for 0 and 1 it is still the same."""
    made = {new_public_id() for _ in range(1_000)}
    assert len(made) == 1_000
    for one in made:
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{10}", one)
        assert (
            public_id_in(one)
            == public_id_in(one.lower())
            == public_id_in(one.replace("0", "o").replace("1", "l"))
            == one
        )
    for other in ("", "0" * 9, "0" * 11, "000000000U", "00000 0000", "０" * 10):
        assert public_id_in(other) is None
