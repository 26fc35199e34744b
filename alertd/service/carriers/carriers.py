"""The carriers of this installation: a channel to send through, and the rules for it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alertd.store.carriers.limits import RAMP_FLOOR
from channels.base import Channel

#: Carriers without a rate still pass the limiter, so that a pause stops them too.
UNLIMITED = 1_000_000.0
_CHANCE = secrets.SystemRandom()


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """Mailboxes at one provider, under a limit of their own."""

    name: str  # from the settings
    limiter: str  # its name in the store
    rate: float = UNLIMITED  # mails a second


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """One account at one provider."""

    name: str
    number: int  # its byte in ledgers, never given to another
    channel: Channel
    kind: str = ""  # which settings it has: `kind` in alertd.toml
    from_files: frozenset[str] = frozenset()  # the options whose value a file gives: in alertd.toml they are NAME_file
    login: str = field(
        default="", repr=False
    )  # the settings it logs in with, password included, as one text; never stored or logged as it is
    rate: float = UNLIMITED  # permits a second, in the carrier's unit
    burst: float = UNLIMITED
    weight: float = 1  # its share of what the channel's carriers are given; 0: only while the others rest
    ramp_s: float = 0  # after an idle spell the rate for what is not loud grows for so long; 0: at once
    hold: bool = False  # an attempt without an answer stays unknown, rather than being sent again
    domains: Mapping[str, Domain] = field(default_factory=dict)  # by each of their names, lower case

    def block(self, cost: int, rows: int) -> int:
        """How many permits to ask for at once: a tenth of a second's, so that a dead worker wastes no more."""
        return max(cost, min(rows * cost, int(self.rate / 10) // cost * cost))

    def seconds_for(self, permits: int, *, loud: bool) -> float:
        """How long so many take after an idle spell: `p = f t + (r - f) t^2 / 2T` on the ramp, then the whole rate `r`."""
        ramp_s, floor = (0 if loud else self.ramp_s), min(self.rate, max(1, self.rate * RAMP_FLOOR))
        on_the_ramp = ramp_s * (floor + self.rate) / 2
        if permits >= on_the_ramp:
            return ramp_s + (permits - on_the_ramp) / self.rate
        growth = (self.rate - floor) / ramp_s
        return 2 * permits / (floor + math.sqrt(floor**2 + 2 * growth * permits))


class Carriers:
    """Which carriers serve a channel."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self._by_channel: dict[str, list[Carrier]] = {}
        for carrier in carriers:
            self._by_channel.setdefault(carrier.channel.name, []).append(carrier)

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(self._by_channel)

    def of(self, channel: str) -> Sequence[Carrier]:
        """The carriers of a channel."""
        return self._by_channel[channel]

    def turn(self, channel: str) -> list[Carrier]:
        """All of a channel in the order to ask them: by chance, each first as often as its weight says."""
        # A weighted draw without putting back: Efraimidis and Spirakis, 2006.
        drawn = {c.name: _CHANCE.random() ** (1 / c.weight) if c.weight else 0 for c in self.of(channel)}
        return sorted(self.of(channel), key=lambda carrier: drawn[carrier.name], reverse=True)

    def seconds_for(self, channel: str, permits: int, *, loud: bool) -> float:
        """How long so many take when each carrier of a channel has its share."""
        whole = sum(carrier.weight for carrier in self.of(channel))
        shares = [(c, c.weight / whole if whole else 1) for c in self.of(channel)]
        return max(carrier.seconds_for(math.ceil(permits * share), loud=loud) for carrier, share in shares if share)

    def named(self, name: str) -> Carrier | None:
        """The carrier of this name, if there is one."""
        return next((carrier for carrier in self.all() if carrier.name == name), None)

    def all(self) -> list[Carrier]:
        return [carrier for carriers in self._by_channel.values() for carrier in carriers]

    def held(self, channel: str) -> bytes:
        """The numbers of the carriers whose open attempts on a channel are not repeated: where all of its own hold, all there may be, for
        what one had that is not in the settings any more is not sent by another, either.
        """
        carriers = self.of(channel)
        every = all(carrier.hold for carrier in carriers)
        return bytes(range(256) if every else (carrier.number for carrier in carriers if carrier.hold))
