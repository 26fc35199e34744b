"""Sealing: what was sealed opens under its own key and name, and under no other."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.store.codec import Box, Codec, Keys, SealError

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
    old, new = (codec.case_box(codec.new_case_key("{c:1}"), "{c:1}") for _ in range(2))
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
