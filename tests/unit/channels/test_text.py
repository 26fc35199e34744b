"""How texts are counted for SMS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.text import GSM_BASIC, GSM_EXTENSION, divided, fold, segments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("gsm7", 1)),
        ("a" * 160, ("gsm7", 1)),
        ("a" * 161, ("gsm7", 2)),
        ("a" * 306, ("gsm7", 2)),
        ("a" * 307, ("gsm7", 3)),
        ("€" * 80, ("gsm7", 1)),
        ("€" * 81, ("gsm7", 2)),
        ("a" * 152 + "€" + "a" * 152, ("gsm7", 3)),  # 306 septets, but the euro sign is not split: 152, 153, 1
        ("a" * 151 + "€" + "a" * 153, ("gsm7", 2)),
        ("Ç" * 160, ("gsm7", 1)),
        ("ç" * 70, ("ucs2", 1)),  # only the capital is in the table
        ("ç" * 71, ("ucs2", 2)),
        ("漢" * 134, ("ucs2", 2)),
        ("漢" * 135, ("ucs2", 3)),
        ("👧" * 35, ("ucs2", 1)),
        ("👧" * 36, ("ucs2", 2)),
        ("👧" * 66, ("ucs2", 2)),  # 33 pairs a part, not 33.5
        ("👧" * 67, ("ucs2", 3)),
    ],
)
def test_segments_are_what_the_carrier_bills(text, expected):
    """160/153 septets, 70/67 UTF-16 units, and no character of two across a border."""
    assert segments(text) == expected


def test_the_table_is_the_standards():
    """127 characters without the escape, and ten that need it (3GPP TS 23.038, 6.2.1)."""
    assert len(GSM_BASIC) == 127
    assert len(GSM_EXTENSION) == 10


def test_look_alikes_become_plain_and_letters_stay():
    """Typographic punctuation does not cost a second segment; a name is never rewritten."""
    assert fold("«Lucía»\u00a0— ’t “x”… 5\u200b") == '"Lucía" - \'t "x"... 5'
    assert fold("Gonçalves Żółć") == "Gonçalves Żółć"
    assert fold("نمی\u200cخواهم 👨\u200d👩") == "نمی\u200cخواهم 👨\u200d👩"


def test_a_link_is_spelled_as_it_was():
    """A dash of another length leads nowhere; the quote after a link is none of it."""
    assert fold("Vea «https://centro.example/niños–perdidos» – o www.pueblo.example/d’ici…") == (
        'Vea "https://centro.example/niños–perdidos" - o www.pueblo.example/d’ici...'
    )


@given(st.text() | st.lists(st.sampled_from(["https://", "www.", "a", "–", "…", "’", " ", "\u200b"])).map("".join))
def test_folding_twice_is_folding_once(text):
    """What is plain stays as it is, and the count never drops below one."""
    assert fold(fold(text)) == fold(text)
    assert segments(text)[1] >= 1


LINK = "https://alerts.example.org/a/k3v9q2"


@pytest.mark.parametrize("before", range(100, 170))
@pytest.mark.parametrize("letter", ["a", "ж"])
def test_a_link_is_never_in_two_segments(before, letter):
    """Wherever it stands, it begins a segment rather than going on in the next; what surrounds it is cut as ever."""
    text = f"{letter * before}\n{LINK} {letter * 200}"
    encoding, parts = divided(text)
    assert "".join(parts) == text
    assert sum(LINK in part for part in parts) == 1
    assert all(segments(part) == (encoding, 1) for part in parts if letter in part)


def test_a_link_longer_than_a_segment_is_cut():
    """It cannot be whole, and every character of it is sent."""
    link = "https://alerts.example.org/" + "x" * 200
    assert divided("ж" + link)[1] == [("ж" + link)[at : at + 67] for at in range(0, 228, 67)]


@given(st.text(), st.text(), st.sampled_from(["", "http://a.example/b?c=d ", LINK, "https://"]))
def test_every_character_is_in_one_segment(before, after, link):
    """None is lost or doubled, whatever is around a link."""
    text = before + link + after
    assert "".join(divided(text)[1]) == text
