"""Rules for an alert beyond its form: unsupported fields, verification, wording and times.

Each function takes an alert (and the time, if needed) and returns its faults. The service chooses the problem type.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from alertd.common.clock import time_of
from alertd.common.errors import Fault
from alertd.model.alert import Alert, Status
from alertd.model.case import ContactRole, Verification, bare_plate
from alertd.model.faults import Location, pointer_of
from alertd.model.fields import CLOCK_SKEW, Document, folded_subject
from alertd.model.kinds import ON_SCREEN, Channel, Criterion, Kind, Level
from alertd.model.organisation import VerificationRule
from alertd.model.presumption_of_innocence import calls_guilty
from alertd.model.redaction import RESTRICTED, called, names_any, words_in, words_of

#: Maximum life of an alert when it is submitted. The ledger counts milliseconds since the start in 32 bits (49 days).
#: For a longer search, a person extends the alert.
MAX_LIFE = timedelta(days=30)

#: Fields that are parsed but have no effect yet, each with its only accepted value and the sentence that refuses other
#: values. CAP's values and the facts of a case are not here: alertd stores and returns them, and no more is expected.
NOT_YET: tuple[tuple[str, Any, str], ...] = (
    ("scope", "Public", "Only alerts to the public are sent yet."),
    ("target/groups", (), "Groups are not handled yet."),
)

_VERIFIED = "An Actual missing-child alert needs"

_CUSTODY, _CRITERIA = "case/verification/custody_checked", "/case/verification/criteria"

#: Required facts and decisions before a child is named in public, each with its sentence.
VERIFICATION: tuple[tuple[str, str], ...] = (
    ("case/verification/authority", f"{_VERIFIED} the authority that verified the case."),
    ("case/verification/reference", f"{_VERIFIED} that authority's reference."),
    ("case/verification/criteria", f"{_VERIFIED} at least one criterion that is met."),
    (_CUSTODY, f"{_VERIFIED} custody to be checked: the seeker may be the danger."),
    ("case/verification/protected_identity_checked", f"{_VERIFIED} a check whether the child's identity is protected."),
    ("case/verification/publication_risk", f"{_VERIFIED} someone to have weighed the risk of publishing."),
    ("case/best_interests", f"{_VERIFIED} someone to have decided that it is in the child's best interests."),
    ("case/persons_sought/*/legal_basis", f"{_VERIFIED} a legal basis for each person it seeks."),
    ("case/vehicles/*/legal_basis", f"{_VERIFIED} a legal basis for each vehicle it names."),
)

#: The criteria that a child-alert, the level that wakes everyone, must meet.
CRITERIA = (Criterion.MINOR, Criterion.HIGH_RISK, Criterion.USEFUL_INFORMATION)

#: Fields with times that must be in the past.
_PAST = ("case/last_seen/at", "case/verification/publication_risk/at", "case/best_interests/at")


def not_honoured(document: Document, part: str = "") -> list[Fault]:
    """Returns a fault with its pointer for each request in an alert that is not supported yet.

    If the document is only a part of an alert (`target`, `policy`), `part` names it.
    """
    under = f"{part}/" if part else ""
    return [
        Fault(f"/{part}{_pointer(document, place)}" if part else _pointer(document, place), sentence)
        for path, default, sentence in NOT_YET
        if path.startswith(under)
        for place, value in _values(document, path.removeprefix(under))
        if value != default
    ]


def missing_verification(alert: Alert, rule: VerificationRule | None = None) -> list[Fault]:
    """Returns what an Actual missing-child alert still lacks before it may be sent; nothing for other alerts.

    `rule`: the requirements of its organisation for its level.
    """
    if alert.status is not Status.ACTUAL or alert.kind is not Kind.MISSING_CHILD:
        return []
    spared = rule is not None and not rule.custody_checked and alert.level is not Level.CHILD_ALERT
    faults = [
        Fault(_pointer(alert, place), sentence)
        for path, sentence in VERIFICATION
        for place, value in _values(alert, path)
        if not value and not (spared and path == _CUSTODY)
    ]
    return faults + _unmet(alert) + (_beside(alert, rule) if rule else [])


def _unmet(alert: Alert) -> list[Fault]:
    """Returns a fault if a child-alert does not meet all `CRITERIA`. That level wakes everyone
    (ops/docs/decisions/0008).
    """
    verification = alert.case.verification
    if alert.level is not Level.CHILD_ALERT or verification is None or not verification.criteria:
        return []
    unmet = [criterion for criterion in CRITERIA if criterion not in verification.criteria]
    sentence = f"A child-alert wakes everybody: its case must meet {', '.join(unmet)}, too. Else send it as endangered."
    return [Fault(_CRITERIA, sentence)] if unmet else []


def _beside(alert: Alert, rule: VerificationRule) -> list[Fault]:
    """Returns a fault for each requirement of the alert's organisation (`rule`) that the case does not meet
    (ops/docs/decisions/0042). Leaves out what `_unmet` reports.
    """
    said = alert.case.verification or Verification()
    reported = CRITERIA if alert.level is Level.CHILD_ALERT and said.criteria else ()  # `_unmet` reports these
    unmet = [one for one in rule.all_of if one not in {*said.criteria, *reported}]
    faults = [Fault(_CRITERIA, f"Your organisation asks for {one} at this level.") for one in unmet]
    met = [one for one in set(rule.any_of) if one in said.criteria]
    if rule.any_of and len(met) < rule.at_least:
        sentence = f"Your organisation asks for at least {rule.at_least} of {', '.join(rule.any_of)} at this level."
        faults.append(Fault(_CRITERIA, sentence))
    if (
        said.authority
        and rule.authorities
        and folded_subject(said.authority) not in map(folded_subject, rule.authorities)
    ):
        faults.append(
            Fault("/case/verification/authority", "Your organisation has cases of this level verified by others.")
        )
    return faults


def protection_faults(alert: Alert) -> list[Fault]:
    """Returns a fault for each fact in an alert about a protected child that a restricted alert would not contain."""
    if not alert.case.protection:
        return []
    pointers = [_pointer(alert, place) for path in RESTRICTED for place, value in _values(alert, path) if value]
    names, seen = called(alert.case), alert.case.last_seen
    pointers += [
        f"/case/last_seen/place/{tag}" for tag, text in (seen.place if seen else {}).items() if names_any(text, names)
    ]
    return [Fault(pointer, "An alert about a child under protection gives only age and sex.") for pointer in pointers]


def naming_contacts(alert: Alert) -> list[Fault]:
    """Returns a fault for each contact URL that has a word of a child's name after the host.

    Such an address would still be published after the name is removed and after the alert's end.
    """
    names = words_of(child.name for child in alert.case.children if child.name)
    return [
        Fault(
            _pointer(alert, place),
            "This address has the child's name in it, and people keep it when the name is taken out.",
        )
        for place, url in _values(alert, "case/contact/*/url")
        if url and names & words_in(unquote(" ".join(urlsplit(url)[2:])))
    ]


def not_neutral(alert: Alert) -> list[Fault]:
    """Returns a fault for each text that calls a person sought or a driver guilty. They are not convicted."""
    paths = ("case/persons_sought/*/description/*", "case/vehicles/*/description/*")
    return [
        Fault(_pointer(alert, place), "Describe how they look, not what they did: no court has convicted them.")
        for path in paths
        for place, text in _values(alert, path)
        if calls_guilty(text, str(place[-1]))
    ]


def plates(alert: Alert) -> frozenset[str]:
    """Returns the number plates that the approver must retype, because one wrong digit can make people stop a stranger."""
    return frozenset(bare_plate(vehicle.plate) for vehicle in alert.case.vehicles if vehicle.plate)


def unreviewed(alert: Alert) -> list[Fault]:
    """Returns a fault for each machine-made text that no person has reviewed."""
    return [
        Fault(_pointer(alert, place), "A person must review this machine text before it is sent.")
        for place, value in _values(alert, "info/*/source")
        if value == "machine"
    ]


def voice_only(alert: Alert) -> list[Fault]:
    """Returns a fault if an Actual missing-child alert has no contact that a deaf or mute person can use."""
    if alert.status is not Status.ACTUAL or alert.kind is not Kind.MISSING_CHILD:
        return []
    if any(one.is_voiceless for one in alert.case.contact):
        return []
    return [
        Fault(
            "/case/contact",
            "Add a text or a url, or a number with the role deaf, as a relay service has it: not all can call.",
        )
    ]


def unreachable(alert: Alert, countries: Sequence[str]) -> list[Fault]:
    """Returns a fault if no single contact works in all these countries, or if a country has no contact that needs no
    voice.

    The safety line names only one contact, so one must work everywhere: a contact for deaf people can be this one only
    if there is no other. `voice_only` judges an alert without any contact that needs no voice. Without known countries
    there is no fault.
    """
    contacts = [one for one in alert.case.contact if one.role is not ContactRole.DEAF] or alert.case.contact
    if contacts and all(one.missing_in(countries) for one in contacts):
        return [Fault("/case/contact", f"None of these works in every country of the alert: {', '.join(countries)}.")]
    voiceless = [one for one in alert.case.contact if one.is_voiceless]
    without = [country for country in countries if all(one.missing_in([country]) for one in voiceless)]
    if not voiceless or not without:
        return []
    return [Fault("/case/contact", f"Who cannot call has no contact that works in {', '.join(without)}.")]


def expiry_faults(alert: Alert, now: datetime) -> list[Fault]:
    """Returns a fault unless the alert ends in the future and within `MAX_LIFE`. `now` is aware."""
    if alert.expires <= now:
        return [Fault("/expires", "This time has passed.")]
    if alert.expires > now + MAX_LIFE:
        return [Fault("/expires", f"An alert lives at most {MAX_LIFE.days} days; it can be extended later.")]
    return []


def start_faults(alert: Alert, now: datetime) -> list[Fault]:
    """Returns a fault unless a scheduled start lies in the future and before the end. `now` is aware."""
    if alert.starts is None:
        return []
    if alert.starts <= now:
        return [Fault("/starts", "This time has passed. Leave it out to have the alert told once it is approved.")]
    return [Fault("/starts", "The alert has ended by then.")] if alert.starts >= alert.expires else []


def delay_faults(alert: Alert, now: datetime, rings_from: int | None = None) -> list[Fault]:
    """Returns a fault for each ring, and for the SMS of an escalation, that would be sent only after the alert's end.
    Assumes approval at `now` (aware).

    `rings_from`: for an update, the time in UNIX ms from which the ring delays count, or 0 for its approval. An update
    is not refused because its SMS would come too late, since that must not block a correction.
    """
    begins = max(now, alert.starts or now)
    since = time_of(rings_from) if rings_from else begins
    rings = [
        (place, since + timedelta(minutes=delay_min))
        for place, delay_min in _values(alert, "target/rings/*/delay_min")
        if delay_min
    ]
    faults = [
        Fault(_pointer(alert, place), "The alert would reach these people after its end.")
        for place, at in rings
        if at >= alert.expires
    ]
    last = max([begins, *(at for _, at in rings)])
    on_screen = any(channel in ON_SCREEN for channel in alert.channels)
    waits = alert.policy.escalates and on_screen and Channel.SMS in alert.channels  # for an acknowledgement on a screen
    if rings_from is None and waits and last + timedelta(seconds=alert.policy.after_s) >= alert.expires:
        faults.append(Fault("/policy/after_s", "The SMS to people who did not acknowledge would come after its end."))
    return faults


def future_faults(alert: Alert, now: datetime) -> list[Fault]:
    """Returns a fault for each time of a past event that is later than `now` (aware) plus the clock skew."""
    latest = now + CLOCK_SKEW
    return [
        Fault(_pointer(alert, place), "This time is still to come.")
        for path in _PAST
        for place, value in _values(alert, path)
        if value is not None and value > latest
    ]


def _values(document: Document, path: str) -> list[tuple[Location, Any]]:
    """Returns the location and the value of every field that a path of field names leads to; `*` means each member.

    Below an absent value, the value is None.
    """
    found: list[tuple[Location, Any]] = [((), document)]
    for step in path.split("/"):
        if step == "*":
            found = [
                ((*place, name), member)
                for place, node in found
                for name, member in (node.items() if isinstance(node, dict) else enumerate(node or ()))
            ]
        else:
            found = [((*place, step), None if node is None else getattr(node, step)) for place, node in found]
    return found


def _pointer(document: Document, place: Location) -> str:
    """Returns the JSON pointer of a location, with the JSON names of fields. Called for faults only, which are rare."""
    node: Any = document
    names: list[int | str] = []
    for step in place:
        if isinstance(node, Document):
            names.append(type(node).model_fields[str(step)].alias or step)
            node = getattr(node, str(step))
        else:
            names.append(step)
            node = None if node is None else node[step]
    return pointer_of(tuple(names))
