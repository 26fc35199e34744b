"""The alerts that have a public page: Actual alerts to the public with `publish.page`, from their start on.

After its end an alert still has a page, which says that it is over and contains nothing of a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import shapely

from alertd.common.clock import Clock, time_of
from alertd.model.alert import Alert, Status
from alertd.model.cap.messages import Position
from alertd.model.cap.outlines import outlines
from alertd.model.kinds import CancelReason, Occasion
from alertd.model.states import NO_LONGER_SHOWN, SHOWN, AlertState
from alertd.rendering import THE_ALERT, Renderer, Telling
from alertd.rendering.catalogue import area_name
from alertd.service.areas.targeting import Share, Targeting
from alertd.service.sharing.published_area import published_codes, published_outline
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.alerts.public_ids import PublicIds
from alertd.store.alerts.records import AlertRecord, unless_damaged
from geofences.area_names import Part
from geofences.polygons import area_km2
from geofences.targets import Area

#: Public ids in memory: ids of alerts are never removed, so an id that exists once exists for ever.
MOST_GIVEN = 10_000
_ENDS = {AlertState.STOOD_DOWN: Occasion.STAND_DOWN, AlertState.CANCELLED: Occasion.CANCEL}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAlert:
    """An alert for its public page. Times are UNIX milliseconds."""

    public_id: str
    alert: Alert | None  # None: it was purged
    telling: Telling  # why the page's text is shown: the alert, or its end if it is over
    is_over: bool
    updated: int
    countries: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()  # of its area; empty if the area is not published
    codes: frozenset[str] = frozenset()  # of the regions that the published area touches
    #: Its published area, for the map of active alerts: rings of positions (lon, lat) that cover it; else empty.
    rings: tuple[tuple[Position, ...], ...] = ()


class PublicAlerts:
    """Reads the alerts that have a public page."""

    def __init__(
        self, current: OpenAlerts, alerts: Alerts, public_ids: PublicIds, targeting: Targeting, renderer: Renderer,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._current = current
        self._alerts = alerts
        self._public_ids = public_ids
        self._targeting = targeting
        self._renderer = renderer
        self._clock = clock
        self._given: set[str] = set()
        self._active: dict[tuple[str, int], PublicAlert | None] = {}

    async def exists(self, public_id: str) -> bool:
        """Returns whether alertd ever gave this public id to an alert, also to a draft or to an alert that was purged
        since.
        """
        if public_id in self._given:
            return True
        if not await self._public_ids.exists(public_id):
            return False
        if len(self._given) >= MOST_GIVEN:
            self._given.clear()
        self._given.add(public_id)
        return True

    async def find(self, public_id: str) -> PublicAlert | None:
        """Returns the alert of a public id. Returns None if there is none, or if it has no page yet."""
        record = await self._public_ids.find(public_id)
        return await self._public(record) if record else None

    async def active(self) -> list[PublicAlert]:
        """Returns the active alerts of all organisations, newest first. Reads only those that changed since the last
        call.
        """
        current = await self._current.alerts()
        rows = await self._alerts.fields(current, "state", "rev", "expires")
        now = self._clock.now_ms()
        names = {
            (one, int(rev or 0)): one
            for one, (state, rev, expires) in zip(current, rows, strict=True)
            if state and AlertState(state.decode()) in SHOWN and int(expires or 0) > now
        }
        known = self._active  # a concurrent call may replace it meanwhile
        self._active = found = {
            name: known[name] if name in known else await unless_damaged(one, self._read(one))
            for name, one in names.items()
        }
        return [one for one in reversed(found.values()) if one is not None and not one.is_over]

    def area(self, found: PublicAlert, language: str) -> str:
        """Returns the name of the published area in a language; "" if the area is not published."""
        return area_name(self._renderer.words(language), found.parts) if found.parts else ""

    async def _read(self, alert_id: str) -> PublicAlert | None:
        """Returns an alert for its page by the alert's own id; None if it has no page."""
        record = await self._alerts.get(alert_id)
        return await self._public(record, on_map=True) if record else None

    async def _public(self, record: AlertRecord, *, on_map: bool = False) -> PublicAlert | None:
        """Returns an alert for its page, with its rings if it is for the map; None if it has no page."""
        start, public_id = record.times.start, record.chain.public_id
        if not start or not public_id or record.status != Status.ACTUAL or record.state not in SHOWN | NO_LONGER_SHOWN:
            return None
        alert = record.alert if record.document else None
        if alert is not None and not alert.has_page:
            return None
        is_over = alert is None or record.state in NO_LONGER_SHOWN or record.expires <= self._clock.now_ms()
        changes = [int(ms) for ms in record.times.changes.split()]
        updated = record.last_step.since if is_over and alert is not None else max([start, *changes])
        telling = await self._end(record) if is_over else THE_ALERT
        parts: tuple[Part, ...] = ()
        codes: frozenset[str] = frozenset()
        rings: tuple[tuple[Position, ...], ...] = ()
        if alert is not None and not is_over and alert.publish.area != "none":
            geometry = await self._alerts.area(record.id)
            shares = await self._targeting.shares(geometry)
            parts = await self._targeting.parts(Area(geometry=geometry, km2=area_km2(geometry)), shares)
            codes = self._codes(alert, shares)
            rings = await asyncio.to_thread(self._rings, alert, geometry, shares) if on_map else ()
        return PublicAlert(
            public_id=public_id, alert=alert, telling=telling, is_over=is_over, updated=updated,
            countries=tuple(record.target.countries.split()), parts=parts, codes=codes, rings=rings,
        )  # fmt: skip

    def _codes(self, alert: Alert, shares: Sequence[Share]) -> frozenset[str]:
        """Returns the codes of the regions under which the list shows an alert. A region that a drawn area merely
        touches would reveal its outline, so the list uses the regions that CAP publishes, and those above them.
        """
        if alert.publish.area == "exact":
            return frozenset(share.code for share in shares)
        library = self._targeting.regions.library
        codes = published_codes(library, shares)
        return frozenset(codes) | {region.code for code in codes for region in library.ancestors(code)}

    def _rings(
        self, alert: Alert, geometry: shapely.MultiPolygon, shares: Sequence[Share]
    ) -> tuple[tuple[Position, ...], ...]:
        """Returns the rings of the area that CAP publishes."""
        shown = published_outline(self._targeting.regions.library, alert, geometry, shares, alert.publish.area)
        return outlines(shown) if shown else ()

    async def _end(self, record: AlertRecord) -> Telling:
        """Returns the occasion of the end, as the messages have it: a close if the alert's time is over. The version
        that announces a cancel has its reason.
        """
        occasion, alerted_at = _ENDS.get(record.state, Occasion.CLOSE), time_of(record.times.start)
        if occasion is not Occasion.CANCEL:
            return Telling(occasion=occasion, alerted_at=alerted_at)
        versions = await self._alerts.chain(record.id)
        codes = [one.last_step.code for one in versions if one.occasion is Occasion.CANCEL]
        if not codes:  # it was cancelled before anyone was notified
            return Telling(occasion=Occasion.CLOSE, alerted_at=alerted_at)
        return Telling(occasion=occasion, reason=CancelReason(codes[-1]), alerted_at=alerted_at)
