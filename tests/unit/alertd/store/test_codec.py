"""Sealing: what was sealed opens under its own key and name, and under no other."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.store.engine.codec import NEXT_KEY, Box, Codec, KeyRing, Keys, NameKeys, SealError, write_key

MASTER, OTHER = b"m" * 32, b"o" * 32


@given(st.binary(max_size=500), st.text(max_size=30))
def test_what_is_sealed_opens(plain: bytes, name: str):
    """And it does not stand in clear."""
    sealed = Box(MASTER).seal(plain, name)
    assert Box(MASTER).open(sealed, name) == plain
    assert len(plain) < 8 or plain not in sealed


def test_a_value_moved_to_another_name_does_not_open():
    """Whoever can write the store cannot give one person another's addresses."""
    sealed = Box(MASTER).seal(b"secret", "{s:1}:1")
    with pytest.raises(SealError):
        Box(MASTER).open(sealed, "{s:1}:2")


def test_another_key_does_not_open():
    """The key is what counts."""
    with pytest.raises(SealError):
        Box(OTHER).open(Box(MASTER).seal(b"secret", "n"), "n")


@pytest.mark.parametrize("at", [0, 1, 12, 13, 20, -1])
def test_a_value_that_was_touched_does_not_open(at: int):
    """Format, nonce, text and tag are all held."""
    sealed = bytearray(Box(MASTER).seal(b"secret", "n"))
    sealed[at] ^= 1
    with pytest.raises(SealError):
        Box(MASTER).open(bytes(sealed), "n")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" * 12, b"\x01" * 20, b"plain text"])
def test_what_is_no_sealed_value_does_not_open(sealed: bytes):
    """Short and foreign values are refused, never an error of another kind."""
    with pytest.raises(SealError):
        Box(MASTER).open(sealed, "n")


def test_destroying_a_case_key_is_purging():
    """A new key of the same case does not open what the old one sealed."""
    codec = Codec(Keys(master=MASTER, hashing=OTHER))
    old, new = (codec.case_box(codec.new_key("{c:1}"), "{c:1}") for _ in range(2))
    with pytest.raises(SealError):
        new.open(old.seal(b"name", "a"), "a")


def test_hashes_depend_on_space_value_and_key():
    """An address and a case of the same text are not the same, nor the same in two installations."""
    mine, theirs = Codec(Keys(master=MASTER, hashing=OTHER)), Codec(Keys(master=MASTER, hashing=MASTER))
    hashes = {mine.hashed("a", "1"), mine.hashed("b", "1"), mine.hashed("a", "2"), theirs.hashed("a", "1")}
    assert len(hashes) == 4
    assert mine.hashed("a", "1") == mine.hashed("a", "1")
    assert mine.check_value != theirs.check_value != Codec(Keys(master=OTHER, hashing=MASTER)).check_value


def test_keys_are_made_once_for_their_owner_alone(tmp_path: Path):
    """The second start finds what the first made."""
    made = Keys.load_or_make(tmp_path)
    assert Keys.load_or_make(tmp_path) == made
    assert made.master != made.hashing
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_keys_come_as_base64_or_hexadecimal():
    """32 bytes either way, and nothing else."""
    text = base64.b64encode(MASTER).decode()
    assert Keys.from_text(text, OTHER.hex()) == Keys(master=MASTER, hashing=OTHER)


@pytest.mark.parametrize("text", ["", "short", "00" * 16, "zz" * 32, base64.b64encode(b"x" * 31).decode()])
def test_a_key_of_another_shape_is_refused(text: str):
    """Without being quoted."""
    with pytest.raises((SealError, ValueError)) as refused:
        Keys.from_text(text, OTHER.hex())
    assert len(text) < 8 or text not in str(refused.value)


def ring(*keys: bytes) -> KeyRing:
    """A ring of these keys, each under a name of one letter."""
    made = KeyRing()
    for key in keys:
        made.hold(chr(key[0]), key)
    return made


def test_a_ring_seals_with_one_key_and_opens_with_all():
    """Values of both keys are opened while a rotation goes on, and those of the old key no more when it is dropped."""
    old = ring(MASTER).seal(b"secret", "n")
    both = ring(MASTER, OTHER)
    both.use("o")
    new = both.seal(b"secret", "n")
    assert both.open(old, "n") == both.open(new, "n") == ring(OTHER).open(new, "n") == b"secret"
    both.drop_others()
    with pytest.raises(SealError):
        both.open(old, "n")
    with pytest.raises(SealError):
        both.use("m")


def test_a_value_says_which_key_sealed_it():
    """The walk of a rotation knows what is left without opening anything; the byte is no secret, and too short to try keys by."""
    both = ring(MASTER, OTHER)
    assert both.mark("m") != both.mark("o")
    assert both.seal(b"secret", "n")[:2] == both.mark("m")
    assert len(both.mark("m")) == 2


def test_two_keys_with_the_same_byte_open_their_own():
    """One of 256 pairs of keys has it."""
    twin = next(
        key for key in (bytes([i, j]) * 16 for i in range(256) for j in range(256))
        if key != MASTER and ring(key).mark(chr(key[0])) == ring(MASTER).mark("m")
    )  # fmt: skip
    both = KeyRing()
    both.hold("m", MASTER)
    both.hold("twin", twin)
    sealed = KeyRing()
    sealed.hold("twin", twin)
    assert both.open(sealed.seal(b"secret", "n"), "n") == b"secret"


def test_seals_are_counted_for_each_key_until_they_are_taken():
    """What was taken is not counted again."""
    both = ring(MASTER, OTHER)
    both.seal(b"", "n")
    both.use("o")
    both.seal(b"", "n")
    both.seal(b"", "n")
    assert both.take_seals() == {"m": 1, "o": 2}
    assert both.take_seals() == {}


def test_the_audit_s_key_outlives_its_master_key_and_does_not_give_it_away():
    """It opens what the audit says, and nothing else."""
    codec = Codec(Keys(master=MASTER, hashing=OTHER))
    entry, person = codec.audit.seal(b"said", "{u:o}"), codec.master.seal(b"secret", "{s:1}:1")
    later = Codec(Keys(master=OTHER, hashing=OTHER))
    later.hold_audit(codec.check_value, codec.audit_keys[codec.check_value])
    assert later.audit.open(entry, "{u:o}") == b"said"
    for one in (later.audit, later.master):
        with pytest.raises(SealError):
            one.open(person, "{s:1}:1")


def test_a_name_key_makes_new_names_of_old_ones():
    """Without the plain text, and in as many turns as there were rotations."""
    first, second = b"1" * 32, b"2" * 32
    before, joining = NameKeys(), NameKeys(joining=first)
    [old] = before.stored("hashed")
    assert old == "hashed"
    assert joining.stored(old) == (old, joining.after(old))
    assert NameKeys(joining=first, prefers_new=True).stored(old) == (joining.after(old), old)
    assert NameKeys(settled=(first,)).stored(old) == (joining.after(old),)
    assert joining.is_old(old)
    assert not joining.is_old(joining.after(old))
    again = NameKeys(settled=(first,), joining=second)
    assert again.is_old(joining.after(old))
    assert again.stored(old) == (joining.after(old), again.after(joining.after(old)))


def test_a_folder_may_hold_the_key_that_comes_next(tmp_path: Path):
    """A process that starts amid a rotation opens values of both."""
    made = Keys.load_or_make(tmp_path)
    assert made.next is None
    write_key(tmp_path / NEXT_KEY, OTHER)
    found = Codec(Keys.load(tmp_path))
    assert found.check_value == Codec(made).check_value
    assert found.name_of(OTHER) in found.master.names
