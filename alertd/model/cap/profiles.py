"""What gateways require of a message beyond CAP itself: the profiles of the United States (IPAWS) and Canada (CAP-CP).

Sources: "CAP v1.2 USA Integrated Public Alert and Warning System Profile Version 1.0" (OASIS, 2009), 47 CFR 10
(wireless emergency alerts: 90 and 360 characters) and 47 CFR 11.31 (event codes); "Canadian Profile of the Common
Alerting Protocol" 0.4 with its lists of events and locations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from alertd.common.errors import Fault
from alertd.model.cap.messages import CapError, Info, Message, Named
from alertd.model.kinds import Level
from channels.text import GSM_BASIC, GSM_EXTENSION

#: Maximum septets of GSM-7 in the short and in the long text on a phone.
SHORT, LONG = 90, 360
#: Maximum life of a wireless alert; a longer alert needs a new message.
IPAWS_LIFE = timedelta(hours=24)

#: IPAWS event codes by level: child abduction emergency, missing and endangered persons, civil emergency message.
IPAWS_EVENTS = {Level.CHILD_ALERT: "CAE", Level.ENDANGERED: "MEP", Level.WARNING: "CEM"}
#: CAP-CP's event codes by level, from its list of events.
CAP_CP_EVENTS = {Level.CHILD_ALERT: "amber", Level.ENDANGERED: "missingPer", Level.APPEAL: "missingPer"}
#: The code that marks each profile's messages. A Cancel has no other mark of its profile.
CODES = {"ipaws": "IPAWSv1.0", "cap-cp": "profile:CAP-CP:0.4"}
CAP_CP_EVENT, CAP_CP_LOCATION = "profile:CAP-CP:Event:0.4", "profile:CAP-CP:Location:0.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Data that a profile needs in addition to the message."""

    level: Level
    places: Sequence[str]  # codes of the profile's own list of places: SAME, or SGC
    phone: Mapping[str, tuple[str, str]]  # short and long text for phones, by the language of an info


def ipaws(message: Message, facts: Facts) -> Message:
    """Returns the message in the IPAWS profile. Raises CapError if IPAWS would refuse it."""
    event = IPAWS_EVENTS.get(facts.level)
    faults = [
        *([] if event else [Fault("", f"An alert of the level {facts.level} does not go by IPAWS.")]),
        *(
            []
            if facts.places
            else [Fault("", "The target names no region of the United States, so it has no SAME code.")]
        ),
        *(fault for i, info in enumerate(message.infos) for fault in _phone_faults(i, facts.phone.get(info.language))),
    ]
    if faults or event is None:
        raise CapError(tuple(faults))
    infos = tuple(_ipaws_info(info, message, event, facts) for info in message.infos)
    return replace(message, codes=(*message.codes, CODES["ipaws"]), infos=infos)


def _ipaws_info(info: Info, message: Message, event: str, facts: Facts) -> Info:
    """Returns an info with the SAME codes of places and event, both texts for phones, and an end at most `IPAWS_LIFE`
    after the message was sent.
    """
    short, long = facts.phone[info.language]
    latest = message.sent + IPAWS_LIFE
    return replace(
        _placed(info, "SAME", facts.places),
        event_codes=(Named(name="SAME", value=event),),
        expires=min(info.expires or latest, latest),
        parameters=(
            Named(name="EAS-ORG", value="CIV"),
            Named(name="CMAMtext", value=short),
            Named(name="CMAMlongtext", value=long),
            *info.parameters,
        ),
    )


def _phone_faults(place: int, texts: tuple[str, str] | None) -> list[Fault]:
    """Returns a fault for each text for phones (short and long) of the info at this index that is missing, too long, or
    not in GSM-7.
    """
    if texts is None:
        return [Fault(f"/info/{place}", "There is no text for phones in this language.")]
    return [
        Fault(f"/info/{place}/{name}", f"This must be at most {limit} characters of GSM-7.")
        for name, limit, text in zip(("CMAMtext", "CMAMlongtext"), (SHORT, LONG), texts, strict=True)
        if not text or not 0 <= septets(text) <= limit
    ]


def septets(text: str) -> int:
    """Returns the length of a text in GSM-7 septets, or -1 if GSM-7 cannot express it."""
    if not (GSM_BASIC | GSM_EXTENSION).issuperset(text):
        return -1
    return sum(2 if character in GSM_EXTENSION else 1 for character in text)


def cap_cp(message: Message, facts: Facts) -> Message:
    """Returns the message in Canada's CAP-CP profile. Raises CapError if `facts.places` is empty: the target neither
    names nor covers a region that has a code of Canada.
    """
    if not facts.places:
        raise CapError((Fault("", "The target names no region of Canada, so it has no code of a location there."),))
    event = Named(name=CAP_CP_EVENT, value=CAP_CP_EVENTS.get(facts.level, "civilEmerg"))
    infos = tuple(replace(_placed(info, CAP_CP_LOCATION, facts.places), event_codes=(event,)) for info in message.infos)
    return replace(message, codes=(*message.codes, CODES["cap-cp"]), infos=infos)


def _placed(info: Info, scheme: str, places: Sequence[str]) -> Info:
    """Returns an info with the codes of these places as geocodes of each of its areas. `scheme` names the code system."""
    codes = tuple(Named(name=scheme, value=place) for place in places)
    return replace(info, areas=tuple(replace(area, geocodes=(*area.geocodes, *codes)) for area in info.areas))


PROFILES = {"ipaws": ipaws, "cap-cp": cap_cp}
