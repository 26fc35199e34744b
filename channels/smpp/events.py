"""What is set of a conversation with an SMS centre, and what it tells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from channels.base import Outcome, Reason
from channels.smpp.pdu import Pdu

Role = Literal["transceiver", "transmitter", "receiver"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSettings:
    role: Role = "transceiver"
    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    window: int = 50  # messages without an answer at a time
    timeout_s: float = 15.0  # of each answer
    enquire_s: float = 30.0  # silence after which the other side is asked whether it lives
    throttle_pause_s: float = 1.0  # after a first throttling answer; doubled while they go on
    throttle_pause_max_s: float = 60.0
    statuses: Mapping[int, Outcome] = field(default_factory=dict)  # the carrier's own codes


@dataclass(frozen=True, slots=True)
class Bound:
    """The centre knows us: messages may go."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of the message that was given as `key`. `late`: it had been answered by a time-out before."""

    key: Hashable
    outcome: Outcome
    late: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message or receipt for us. It waits for `Session.acknowledge`."""

    pdu: Pdu


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come: the connection is to be closed. Every open message has had its `Answered` before."""

    reason: Reason


Event = Bound | Answered | Delivered | Ended
