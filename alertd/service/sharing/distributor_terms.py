"""Which alerts a distributor gets, and what it has to be told about its area."""

from __future__ import annotations

import asyncio

import shapely

from alertd.common.clock import second_of
from alertd.model.alert import Alert
from alertd.model.cap.messages import MsgType, Reference
from alertd.model.distribution import (
    Entry,
    Track,
)
from alertd.model.distributor import Distributor
from alertd.model.organisation import Jurisdiction
from alertd.model.states import SHOWN, AlertState
from alertd.service.areas.jurisdiction import Jurisdictions
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord


async def lies_in(grounds: Jurisdictions, alerts: Alerts, jurisdiction: Jurisdiction, record: AlertRecord) -> bool:
    """Whether an alert has ground in a jurisdiction. Raises Problem where that is of ground that is gone."""
    ground = await grounds.of(jurisdiction)
    area = await alerts.area(record.id)
    return bool(await asyncio.to_thread(lambda: shapely.intersection(ground, area).area > 0))


def why_not(wants: Distributor, record: AlertRecord, alert: Alert) -> str:
    """Why a distributor does not get an alert, as a code; '' where nothing but its ground may speak against it."""
    reasons = {
        "off": not wants.enabled,
        "status": record.status not in wants.statuses,
        "level": bool(wants.levels) and record.level not in wants.levels,
        "scope": alert.scope != "Public",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def not_taken(status: int) -> bool:
    """Whether a status says that a message surely was not taken. A redirect may follow what was (303 See Other); and who waited too long for the
    message (408) may be a gateway's proxy, behind which it arrived.
    """
    return 400 <= status < 500 and status != 408


def goes_down(record: AlertRecord, track: Track) -> bool:
    """Whether an alert that is over must be taken down: not where it ended when its messages said it would, for then it is down."""
    if not track.over and (record.state not in {*SHOWN, AlertState.EXPIRED} or track.owed):
        return True
    return track.shown_until > record.expires


def references(track: Track, entry: Entry) -> tuple[Reference, ...]:
    """What a message takes the place of: all that may have arrived and is not taken down."""
    if entry.type is MsgType.ALERT:
        return ()
    return tuple(
        Reference(sender=one.sender, identifier=one.identifier, sent=second_of(one.sent)) for one in track.arrived
    )
