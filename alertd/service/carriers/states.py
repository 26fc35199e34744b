"""The state of each carrier in one word, its cause and since when: for the API, the console, the metrics and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.causes import Cause, cause_of_login, made
from alertd.service.carriers.channel_coverage import ChannelCoverage
from alertd.store.carriers.limits import Limits
from alertd.store.carriers.logins import LoginRecord, Logins
from alertd.store.engine.heartbeats import Heartbeats
from channels.login import LoginState


@dataclass(frozen=True, slots=True)
class CarrierState:
    """`state` is one of `causes.STATES`. `since_ms` is known for what a login found. `rests`: its breaker is open."""

    channel: str
    state: str
    rests: bool
    cause: Cause | None = None
    since_ms: int | None = None

    @property
    def works(self) -> bool:
        """Whether messages can go, as far as is known."""
        return self.cause is None


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierStates:
    """Of an installation."""

    carriers: Carriers
    logins: Logins
    taking: Heartbeats
    limits: Limits
    attendance: ChannelCoverage

    async def all(self) -> dict[str, CarrierState]:
        """By carrier."""
        names = [carrier.name for carrier in self.carriers.all()]
        at_work, resting = await self.attendance.channels(), await self.limits.open_breakers(names)
        found, taking = await self.logins.get(names), await self.taking.find(names)
        return {
            one.name: _state(
                one,
                found[one.name],
                at_work=at_work[one.channel.name],
                takes=taking[one.name],
                rests=resting[one.name],
            )
            for one in self.carriers.all()
        }

    async def cause_without_worker(self, carrier: Carrier) -> Cause:
        """Why no worker took a test of this carrier."""
        found = (await self.all())[carrier.name]
        return found.cause or made(carrier, "no_worker")


def _state(carrier: Carrier, found: LoginRecord | None, *, at_work: bool, takes: bool, rests: bool) -> CarrierState:
    """The first that applies. A message that was accepted a moment ago proves that the login works."""
    cause, state, since_ms = None, LoginState.NOT_KNOWN.value, None
    if not at_work:
        cause = made(carrier, "no_worker")
    elif found is not None and not takes and found.login.fails:
        cause, since_ms = cause_of_login(carrier, found.login), found.since_ms
    elif rests:
        cause = made(carrier, "rests")
    elif takes:
        state = LoginState.WORKS.value
    elif found is not None:
        state, since_ms = found.login.state.value, found.since_ms
    return CarrierState(carrier.channel.name, cause.code if cause else state, rests, cause, since_ms)
