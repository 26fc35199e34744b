"""Generates the script tables.js with the rules that the console's scripts need, so that no rule is written twice."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from alertd.common.resources import templates_dir
from alertd.model.alert import MAX_RINGS, Status
from alertd.model.kinds import KINDS, ON_SCREEN, CancelReason, Channel, Kind, Level, Notify, Protection, Verdict
from alertd.model.oncall import CONTACTS, Day, OnCall
from alertd.model.operator import Role
from alertd.model.organisation import GRANTED
from alertd.model.rules import CRITERIA
from alertd.model.states import AMENDABLE, KNOWN, OPEN_STATES, SETTLED, SHOWN, UNWATCHED, AlertState, State
from alertd.rendering.catalogue import read_catalogues
from alertd.service.access import Scope
from alertd.service.alerts.follow_up import CANCEL, CLOSE, REOPEN, STAND_DOWN, Step
from channels.base import Loudness
from geofences.shapes import MAX_VERTICES

#: The states of a reference (an alert's message to one address) in four groups: delivered or accepted; unknown, failed
#: or expired; still to come; not needed.
_DELIVERED = (State.DELIVERED, State.ACCEPTED)
_NOT_DELIVERED = (State.UNKNOWN, State.FAILED, State.EXPIRED)
_PENDING = tuple(sorted(set(State) - SETTLED, reverse=True))
_NOT_NEEDED = tuple(sorted(SETTLED - {*_DELIVERED, *_NOT_DELIVERED}))
_ACTS = {"stand-down": STAND_DOWN, "reopen": REOPEN, "close": CLOSE, "cancel": CANCEL}

#: By an operation's name in the audit log: its scopes, any one of which suffices.
Needs = Mapping[str, Sequence[str]]


def tables(needs: Needs, carried: Collection[str]) -> dict[str, Any]:
    """Returns all tables, by the names that the console's scripts use. Lists of alert states are in the order of
    `AlertState`. `carried`: the channels with a carrier.
    """
    return {
        "needs": {act: list(scopes) for act, scopes in needs.items()},
        "channels": list(Channel),
        "onScreen": list(ON_SCREEN),
        "usualChannels": [one for one in Channel if one in carried],
        "statuses": list(Status),
        "gravest": Level.CHILD_ALERT.value,
        "criteria": list(CRITERIA),
        "criterion": _criteria_in_words(),
        "protection": list(Protection),
        "levels": {level: facts.loudness for level, facts in KINDS[Kind.MISSING_CHILD].items()},
        "everyLevel": list(Level),
        "granted": list(GRANTED),
        "loudness": list(Loudness),
        "open": _ordered(OPEN_STATES),
        "underWay": _ordered(OPEN_STATES | {AlertState.SCHEDULED}),
        "over": _ordered(UNWATCHED),
        "amendable": _ordered(frozenset(AMENDABLE)),
        "acts": {name: _ordered(_from(step)) for name, step in _ACTS.items()}
        | {"update": _ordered(SHOWN), "extend": _ordered(KNOWN), "restrict": _ordered(KNOWN)},
        "notify": [Notify.FULL, Notify.SILENT, Notify.NONE],  # the choices of an author
        "codes": list(CancelReason),
        "verdicts": list(Verdict),
        "references": {
            name: [state.word for state in states]
            for name, states in {
                "told": _DELIVERED,
                "lost": _NOT_DELIVERED,
                "left": _PENDING,
                "spared": _NOT_NEEDED,
            }.items()
        },
        "scopes": list(get_args(Scope)),
        "roles": list(Role),
        "days": list(Day),
        "contacts": {one: _value(model) for one, model in CONTACTS.items()},
        "rota": {name: OnCall.model_fields[name].default for name in ("after_min", "times", "hold_min")},
        "mostRings": MAX_RINGS,
        "mostVertices": MAX_VERTICES,
    }


@cache
def _criteria_in_words() -> dict[str, dict[str, str]]:
    """Returns the texts of the criteria for a missing-child alert, by language and then by code."""
    catalogues = read_catalogues(templates_dir() / "catalogue")
    return {tag: dict(words.codes("criterion")) for tag, words in catalogues.items()}


def module(needs: Needs, carried: Collection[str]) -> str:
    """Returns the text of tables.js, a JavaScript module that exports all tables as `TABLES`."""
    text = json.dumps(tables(needs, carried), indent=1)
    return f"// Made by alertd from the tables that rule.\nexport const TABLES = {text};\n"


def _value(model: type[BaseModel]) -> str:
    """Returns the name of the field in which a model of on-call contacts has the address, such as `number`."""
    (name,) = set(model.model_fields) - {"channel", "language", "n"}
    return name


def _from(step: Step) -> frozenset[AlertState]:
    """Returns the states in which the console offers the step: its sources, and its late states
    except its own result.
    """
    return step.sources | step.late - {step.new}


def _ordered(states: frozenset[AlertState]) -> list[str]:
    """Returns the states as words, in the order of `AlertState`."""
    return [state.value for state in AlertState if state in states]
