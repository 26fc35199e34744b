"""What gateways want besides: codes, short texts for phones, an end within a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alertd.model.cap.messages import CapError, Message, Named
from alertd.model.cap.profiles import CAP_CP_LOCATION, Facts, cap_cp, ipaws, septets
from alertd.model.cap.reader import parse_message
from alertd.model.cap.writer import write
from alertd.model.kinds import Level
from tests.unit.alertd.model.cap_documents import WHOLE

FACTS = Facts(
    level=Level.CHILD_ALERT,
    places=("006037", "006000"),
    phone={
        "es-ES": ("Niña desaparecida", "Niña desaparecida. Llame al 116000"),
        "en-US": ("Child", "Child, call 116000"),
    },
)


@pytest.fixture
def message() -> Message:
    return parse_message(WHOLE.encode())


def faults(message: Message, facts: Facts) -> list[str]:
    with pytest.raises(CapError) as caught:
        ipaws(message, facts)
    return [fault.pointer for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("level", "code"), [(Level.CHILD_ALERT, "CAE"), (Level.ENDANGERED, "MEP"), (Level.WARNING, "CEM")]
)
def test_ipaws_has_one_event_places_and_texts_for_phones(level: Level, code: str, message: Message):
    """Each info has exactly one SAME event, its SAME places, both texts for phones; the message says whose profile it keeps."""
    made = ipaws(message, replace(FACTS, level=level))
    assert "IPAWSv1.0" in made.codes
    for info in made.infos:
        assert info.event_codes == (Named(name="SAME", value=code),)
        assert [one.value for one in info.areas[0].geocodes if one.name == "SAME"] == ["006037", "006000"]
        texts = {one.name: one.value for one in info.parameters}
        assert (texts["CMAMtext"], texts["CMAMlongtext"]) == FACTS.phone[info.language]
    assert parse_message(write(made)) == made


def test_ipaws_ends_within_a_day(message: Message):
    """A longer alert is told for its first day; one without an end, too; a shorter one as long as it is."""
    spanish = replace(message.infos[0], expires=message.sent + timedelta(days=3))
    ends = {info.expires for info in ipaws(replace(message, infos=(spanish, message.infos[1])), FACTS).infos}
    assert ends == {message.sent + timedelta(hours=24)}
    assert ipaws(message, FACTS).infos[0].expires == message.infos[0].expires


def test_ipaws_refuses_what_it_would_not_take(message: Message):
    """Levels that no event stands for, targets elsewhere, and texts that phones cannot show, all at once."""
    assert faults(message, replace(FACTS, level=Level.APPEAL, places=())) == ["", ""]
    for short, long, wrong in (
        ("a" * 91, "a", "CMAMtext"),
        ("a", "€" * 181, "CMAMlongtext"),
        ("ребёнок", "a", "CMAMtext"),
        ("", "a", "CMAMtext"),
    ):
        phone = {**FACTS.phone, "en-US": (short, long)}
        assert faults(message, replace(FACTS, phone=phone)) == [f"/info/1/{wrong}"]
    assert faults(message, replace(FACTS, phone={})) == ["/info/0", "/info/1"]


def test_cap_cp_has_its_event_and_locations(message: Message):
    """Canada's event and location codes stand beside what is there."""
    made = cap_cp(message, replace(FACTS, places=("35",)))
    assert "profile:CAP-CP:0.4" in made.codes
    for info in made.infos:
        assert info.event_codes == (Named(name="profile:CAP-CP:Event:0.4", value="amber"),)
        assert Named(name=CAP_CP_LOCATION, value="35") in info.areas[0].geocodes
    with pytest.raises(CapError):
        cap_cp(message, replace(FACTS, places=()))


def test_septets_count_what_is_escaped_twice():
    """The euro sign takes two; what the alphabet lacks cannot be written."""
    assert (septets("abc"), septets("a€"), septets("ă")) == (3, 3, -1)
