"""How a text is coded for a carrier: as written, with a national language table, or without accents."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.smpp.message import TABLES, code, decode_text, header
from channels.text import ALPHABETS, GSM_BASIC, NATIONAL, SmsSettings, best_coding, codings

#: 3GPP TS 23.038 annex A.2.2, written down here once more: septet and character.
SPANISH = "09ç 0A\f 14^ 28{ 29} 2F\\ 3C[ 3D~ 3E] 40| 41Á 49Í 4FÓ 55Ú 61á 65€ 69í 6Fó 75ú"
SPANISH_TABLE = {int(entry[:2], 16): entry[2:] for entry in SPANISH.split(" ")}
ES = SmsSettings(tables=("spanish",))
AS_WRITTEN = SmsSettings(tables=("spanish",), transliterate=False)

spanish = st.text(st.sampled_from(sorted(GSM_BASIC | set(SPANISH_TABLE.values()))), max_size=900)


def decoded(octets):
    """The text of one PDU, read by the rules of TS 23.040 section 9.2.3.24 and the table above alone."""
    size, text = octets[0], ""
    elements, at = octets[1 : 1 + size], 0
    found = {}
    while at < size:
        found[elements[at]] = elements[at + 2 : at + 2 + elements[at + 1]]
        at += 2 + elements[at + 1]
    assert found[0x24] == b"\x02"
    rest = iter(octets[1 + size :])
    for octet in rest:
        text += SPANISH_TABLE[next(rest)] if octet == 0x1B else decode_text(bytes((octet,)), 0, 0)
    return text, found.get(0x00), len(octets) - 1 - size


def test_the_spanish_table_is_the_standards():
    """Each septet has the character that annex A.2.2 gives it."""
    assert TABLES["spanish"] == SPANISH_TABLE
    assert [NATIONAL[name].identifier for name in ("turkish", "spanish", "portuguese")] == [1, 2, 3]
    assert all(len(set(table.values())) == len(table) for table in TABLES.values())


@given(spanish)
def test_a_text_with_the_spanish_table_is_cut_as_it_is_billed(text):
    """A segment holds 155 septets, or 149 of a longer text; a letter of the table takes two and is never cut. No segment has room left."""
    coding = next((one for one in codings(text, AS_WRITTEN) if one.table), None)
    if coding is None:  # the GSM alphabet is enough
        return
    widths = [[1 if char in GSM_BASIC else 2 for char in part] for part in coding.parts]
    room = 155 if len(coding.parts) == 1 else 149
    assert all(sum(each) <= room for each in widths)
    assert all(sum(each) + after[0] > room for each, after in itertools.pairwise(widths))
    assert len(coding.parts) == 1 or sum(map(sum, widths)) > 155
    coded = code(coding)
    read_ = [
        decoded(header(7, len(coded.parts), number, coded.table) + part) for number, part in enumerate(coded.parts, 1)
    ]
    assert "".join(text for text, _, _ in read_) == coding.text
    assert [size for _, _, size in read_] == [sum(each) for each in widths]


def test_the_header_names_the_table():
    """In octets as TS 23.040 has them: of a part, of a text of one part, and without a table as before."""
    assert header(9, 3, 2, "spanish") == bytes((8, 0x00, 3, 9, 3, 2, 0x24, 1, 2))
    assert header(9, 1, 1, "turkish") == bytes((3, 0x24, 1, 1))
    assert header(9, 3, 2) == bytes((5, 0, 3, 9, 3, 2))
    assert header(9, 1, 1) == b""


@pytest.mark.parametrize("table", sorted(NATIONAL))
def test_what_is_written_with_a_table_is_read_with_it(table):
    """Every letter of each table survives."""
    text = "".join(sorted(ALPHABETS[table] - {"\f"}))
    coding = next(one for one in codings(text, SmsSettings(tables=(table,), transliterate=False)) if one.table)
    coded = code(coding)
    parts = [header(1, len(coded.parts), n, table) + part for n, part in enumerate(coded.parts, 1)]
    assert "".join(decode_text(part, 0, 0x40) for part in parts) == coding.text


LONG = "Última vez en la estación de autobuses, salió sin compañía. " * 4


@pytest.mark.parametrize(
    ("text", "names", "settings", "encoding", "table", "transliterated", "parts"),
    [
        ("Niña en Málaga", (), SmsSettings(transliterate=False), "ucs2", None, False, 1),
        (LONG, (), SmsSettings(transliterate=False), "ucs2", None, False, 4),
        (LONG, (), SmsSettings(), "gsm7", None, True, 2),
        (LONG, (), ES, "gsm7", "spanish", False, 2),  # no dearer than without accents
        (LONG, (), AS_WRITTEN, "gsm7", "spanish", False, 2),
        ("í" * 100, (), ES, "gsm7", None, True, 1),  # two septets each would be two segments
        ("í" * 100, (), AS_WRITTEN, "ucs2", None, False, 2),  # no dearer, and every phone shows it
        ("Lucía. " + LONG, ("Lucía",), SmsSettings(), "ucs2", None, False, 4),  # a name stays, and decides
        ("Lucía. " + LONG, ("Lucía",), ES, "gsm7", "spanish", False, 2),
        ("Lucía. ã" + LONG, ("Lucía",), ES, "gsm7", "spanish", True, 2),  # only what the table has not
        ("Łucja. " + LONG, ("Łucja",), ES, "ucs2", None, False, 4),
        ("Niña", (), ES, "gsm7", None, False, 1),
    ],
)  # fmt: skip
def test_the_cheapest_coding_is_used_and_of_several_the_most_faithful(
    text, names, settings, encoding, table, transliterated, parts
):
    """As the carrier's settings allow."""
    coding = best_coding(text, settings, names)
    assert (coding.encoding, coding.table, coding.transliterated, len(coding.parts)) == (
        encoding,
        table,
        transliterated,
        parts,
    )
    assert all(name in coding.text for name in names)
    assert transliterated or coding.text == text


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_name_is_in_every_coding(text, name):
    """Whatever it is spelled with, and whatever stands around it."""
    for coding in codings(f"{text} {name}", SmsSettings(tables=tuple(NATIONAL)), (name,)):
        assert "".join(coding.parts) == coding.text
        assert not coding.transliterated or set(name) <= ALPHABETS[coding.table]
