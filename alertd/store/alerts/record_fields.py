"""Encodes and decodes an alert's version as the fields of its hash in the store. What people wrote is sealed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from alertd.model.kinds import Notify, Occasion, Verdict
from alertd.model.states import AlertState
from alertd.store.alerts.records import (
    AlertAuthor,
    AlertRecord,
    ApprovalFacts,
    BrokenGlass,
    ChainState,
    FollowUp,
    LastStep,
    Neighbours,
    PlanHead,
    PlanProgress,
    Review,
    TargetFacts,
    Times,
    Update,
)
from alertd.store.engine.codec import Box, KeyRing
from alertd.store.engine.key_table import OF_STAFF

NUMBERS = (
    "created",
    "expires",
    "rev",
    "seen",
    "people",
    "start",
    "first_send",
    "last_send",
    "cursor",
    "rows",
    "batches",
    "planned",
    "texts",
    "alerted",
    "restricted",
    "again",
    "newly",
    "goes_on",
    "rings_from",
    "broken",
    "reviewed",
    "starts",
    "approved_rev",
    "sent_alone",
)
TEXTS = (
    "state",
    "org",
    "kind",
    "level",
    "status",
    "loudness",
    "case",
    "regions",
    "countries",
    "key",
    "occasion",
    "code",
    "follows",
    "changes",
    "upon",
    "notify",
    "verdict",
    "permissions",
    "approver_key",
    "outline",
)
#: Fields with what people wrote. They are sealed under the case's key and become unreadable when it is destroyed.
OF_CASE = ("external_id", "reason", "why", "note", "permission_why", "stand_down_asked")
#: All fields of a version except its document, the areas in other organisations' jurisdictions, and the times at which it entered its
#: states.
NAMES = (*NUMBERS, *TEXTS, *OF_CASE, *OF_STAFF)
#: Names of the fields with areas in other organisations' jurisdictions: GROUND followed by an organisation's id has the
#: area that this organisation is asked to permit; GRANTED has all that was permitted.
GROUND, GRANTED = "ground:", "granted"
#: Fields of the whole alert (stored once, with its first version) that become part of each version's record.
OF_CHAIN = ("paused", "ahead", "keys", "lives", "public")
#: The fields of a `PlanHead`.
PLAN_HEAD = ("state", "loudness", "people", "cursor", "planned")
_PLAIN = frozenset({*NUMBERS, *TEXTS})

#: Fields as arguments of a script: name, value, name, value, ...
Flat = list[str | bytes | int]


@dataclass(frozen=True, slots=True)
class Seals:
    """Encrypts and decrypts the text fields of one alert's record. Without the case's key (`case` None), fields sealed under that key read
    as ''.
    """

    alert_id: str
    staff: KeyRing  # the master key, for the fields OF_STAFF
    case: Box | None  # the case's key, for all others; None if it is destroyed or was not read

    def seal(self, name: str, text: str) -> bytes:
        """Returns the stored form of a field: sealed under the master key or the case's key, or plain for codes and numbers. b"" for an
        empty text, or if the key is missing.
        """
        if name in _PLAIN:
            return text.encode()
        box = self._box(name)
        return box.seal(text.encode(), f"{self.alert_id} {name}") if box and text else b""

    def flat(self, fields: Mapping[str, str]) -> Flat:
        """Returns the fields in their stored form (`seal`), as arguments of a script: name, value, name, value."""
        return [part for name, text in fields.items() for part in (name, self.seal(name, text))]

    def open(self, name: str, sealed: bytes) -> str:
        """Returns the text of a sealed field; '' for an empty one, or if the key is missing. Raises SealError."""
        box = self._box(name)
        return box.open(sealed, f"{self.alert_id} {name}").decode() if box and sealed else ""

    def sealed(self, document: bytes) -> bytes:
        """Returns the alert's document, sealed under the case's key, which must be there."""
        assert self.case is not None
        return self.case.seal(document, self.alert_id)

    def _box(self, name: str) -> Box | KeyRing | None:
        """Returns the key of a field: the master key for the fields OF_STAFF, else the case's key."""
        return self.staff if name in OF_STAFF else self.case


def encode_content(record: AlertRecord, seals: Seals, *, anew: bool = True) -> Flat:
    """Returns the fields of a version's content (not its state or its progress), as arguments of a script. Document and texts are sealed.
    `anew`: the version has no fields yet, so empty ones (about half) are left out; without it, empty fields are written and replace older
    values.
    """
    said = {
        "org": record.org, "kind": record.kind, "level": record.level, "status": record.status,
        "loudness": record.loudness, "case": record.case, "external_id": record.external_id,
        "expires": record.expires, "texts": record.texts,
        "author": record.author.subject, "key": record.author.key, "hands": record.author.hands,
        "by": record.last_step.by, "reason": record.last_step.reason, "code": record.last_step.code,
        "approver": record.approval.by, "approver_key": record.approval.key, "sent_alone": int(record.approval.is_alone),
        "starts": record.times.starts, "restricted": record.times.restricted, "rings_from": record.times.rings_from,
        "changes": record.times.changes,
        "seen": record.target.seen, "regions": record.target.regions, "countries": record.target.countries,
        "outline": record.target.outline,
        "permissions": record.neighbours.permissions, "permitted_by": record.neighbours.answered_by,
        "permission_why": record.neighbours.reasons, "stand_down_asked": record.neighbours.stand_down_asked,
        **_encode_follow_up(record.follow_up),
    }  # fmt: skip
    fields = {
        name: value if isinstance(value, int) else seals.seal(name, value)
        for name, value in said.items()
        if value or not anew
    }
    fields |= {**record.neighbours.areas, "doc": seals.sealed(record.document)}
    return [part for field in fields.items() for part in field]


def _encode_follow_up(found: FollowUp | None) -> dict[str, str | int]:
    """Returns the fields of a follow-up, {} for the alert itself."""
    if found is None:
        return {}
    fields: dict[str, str | int] = {
        "occasion": found.occasion, "follows": " ".join(found.follows), "alerted": found.alerted
    }  # fmt: skip
    if isinstance(found, Update):
        fields |= {
            "notify": found.notify,
            "again": found.renotify_count,
            "newly": found.new_recipients,
            "upon": found.based_on,
        }
    return fields


def changed(record: AlertRecord) -> Flat:
    """Returns the fields of an alert that may change while it is being sent, without its document, as arguments of a script."""
    times = record.times
    return ["expires", record.expires, "restricted", times.restricted, "changes", times.changes]


def decode_record(fields: Mapping[str, bytes], seals: Seals, of_chain: Sequence[bytes | None]) -> AlertRecord:
    """Returns the record of a version from its stored fields and from the values of the fields `OF_CHAIN`, which its alert has once for all
    versions. Missing fields read as empty or 0. Raises SealError if a field does not open.
    """
    paused, ahead, sent_by, lives, public_id = of_chain
    number = {name: int(fields.get(name, 0)) for name in NUMBERS}
    text = {name: fields.get(name, b"").decode() for name in TEXTS}
    text |= {name: seals.open(name, fields.get(name, b"")) for name in (*OF_CASE, *OF_STAFF)}
    return AlertRecord(
        id=seals.alert_id, state=AlertState(text["state"]), org=text["org"], kind=text["kind"], level=text["level"],
        status=text["status"], loudness=text["loudness"], external_id=text["external_id"], case=text["case"],
        rev=number["rev"], expires=number["expires"], people=number["people"], texts=number["texts"],
        author=AlertAuthor(subject=text["author"], key=text["key"], hands=text["hands"]),
        last_step=LastStep(
            by=text["by"], reason=text["reason"], code=text["code"], since=int(fields.get(f"{text['state']}_at", 0))
        ),
        approval=_decode_approval(number, text),
        follow_up=_decode_follow_up(number, text),
        times=Times(
            created=number["created"], starts=number["starts"], start=number["start"], first_send=number["first_send"],
            last_send=number["last_send"], rings_from=number["rings_from"], changes=text["changes"],
            restricted=number["restricted"],
        ),
        plan=PlanProgress(
            cursor=number["cursor"], rows=number["rows"], batches=number["batches"], is_complete=bool(number["planned"])
        ),
        target=TargetFacts(
            seen=number["seen"], regions=text["regions"], countries=text["countries"], outline=text["outline"]
        ),
        neighbours=Neighbours(
            permissions=text["permissions"], answered_by=text["permitted_by"], reasons=text["permission_why"],
            stand_down_asked=text["stand_down_asked"],
            areas={name: ground for name, ground in fields.items() if name == GRANTED or name.startswith(GROUND)},
        ),
        chain=ChainState(
            paused=paused == b"1", ahead=int(ahead or 0), lives=(lives or b"").decode(),
            sent_by=tuple((sent_by or b"").decode().split()), public_id=(public_id or b"").decode(),
        ),
        document=seals.case.open(fields["doc"], seals.alert_id) if seals.case and "doc" in fields else b"",
        box=seals.case,
    )  # fmt: skip


def _decode_approval(number: Mapping[str, int], text: Mapping[str, str]) -> ApprovalFacts:
    """Returns the approval from a version's decoded fields."""
    review = glass = None
    if number["reviewed"]:
        review = Review(at=number["reviewed"], by=text["reviewer"], verdict=Verdict(text["verdict"]), note=text["note"])
    if number["broken"]:
        glass = BrokenGlass(at=number["broken"], why=text["why"], review=review)
    return ApprovalFacts(
        by=text["approver"], rev=number["approved_rev"], key=text["approver_key"], is_alone=bool(number["sent_alone"]),
        glass=glass,
    )  # fmt: skip


def _decode_follow_up(number: Mapping[str, int], text: Mapping[str, str]) -> FollowUp | None:
    """Returns the follow-up from a version's decoded fields, None for the alert itself."""
    if not text["occasion"]:
        return None
    occasion, alerted = Occasion(text["occasion"]), number["alerted"]
    follows = tuple(map(Occasion, text["follows"].split()))
    if not text["notify"]:
        return FollowUp(occasion=occasion, follows=follows, alerted=alerted)
    return Update(
        occasion=occasion, follows=follows, alerted=alerted, notify=Notify(text["notify"]), renotify_count=number["again"],
        new_recipients=number["newly"], based_on=text["upon"], continues=bool(number["goes_on"]),
    )  # fmt: skip


def decode_plan_head(alert_id: str, fields: Sequence[bytes | None]) -> PlanHead | Exception | None:
    """Returns the `PlanHead` from the values of the fields `PLAN_HEAD`. Returns None if the alert does not exist, and the ValueError (not
    raised) if a field is damaged.
    """
    state, loudness, people, cursor, planned = fields
    if state is None:
        return None
    try:
        return PlanHead(
            alert_id, state.decode(), (loudness or b"").decode(), int(people or 0), int(cursor or 0), planned == b"1"
        )
    except ValueError as error:
        return error


Numbers = NDArray[np.uint64]
Rings = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenAudience:
    """The recipients of a version: sorted subscriber numbers, and the ring (part of the target with its own delay) of each, 0 for none.
    Both have shape (recipients,). For the recipients of a later version see `earlier_recipients`: pairs of a subscriber and a channel.
    """

    numbers: Numbers
    rings: Rings


def pack_area(area: shapely.Geometry) -> bytes:
    """Returns the area as compressed WKB: a country's outline then has 60 kB, and thousands of alerts may name the same country."""
    return zlib.compress(shapely.to_wkb(area), 1)


def unpack_area(blob: bytes) -> shapely.MultiPolygon:
    """Returns the area from its packed form, as a new object."""
    area = shapely.from_wkb(zlib.decompress(blob))
    assert isinstance(area, shapely.MultiPolygon)
    return area


def pack_audience(numbers: Numbers, rings: Rings | None = None) -> bytes:
    """Returns the sorted subscriber numbers as compressed differences, about 1 MB for a million, followed by the compressed rings if any is
    not 0.
    """
    packed = zlib.compress(np.diff(numbers.astype(np.uint64), prepend=np.uint64(0)).astype("<u8").tobytes(), 1)
    return packed if rings is None or not rings.any() else packed + zlib.compress(rings.tobytes(), 1)


def unpack_audience(blob: bytes) -> FrozenAudience:
    """Returns the audience from the form that `pack_audience` made."""
    deltas = zlib.decompressobj()
    numbers = np.cumsum(np.frombuffer(deltas.decompress(blob), "<u8"), dtype=np.uint64)
    if not deltas.unused_data:
        return FrozenAudience(numbers=numbers, rings=np.zeros(len(numbers), np.uint8))
    return FrozenAudience(numbers=numbers, rings=np.frombuffer(zlib.decompress(deltas.unused_data), np.uint8))
