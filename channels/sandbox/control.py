"""The control calls that the HTTP carriers of the sandbox have in common."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from channels.sandbox.http_wire import Answer, Reply, Request, Streamed
from channels.sandbox.script import Recorded, Rule, Script


class _Answering(msgspec.Struct, forbid_unknown_fields=True):
    number: str
    text: str


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    """What may be ordered. A word that is none of these is refused: who misspells a fault would see that there is none."""

    rules: list[Rule] | None = None
    clear: bool = False
    revoke: bool = False
    say: _Answering | None = None


class Control:
    """`POST /control`, `GET /counts`, `GET /recorded`. `revoke` is called for `{"revoke": true}`, `say` for every
    `{"say": {"number": ..., "text": ...}}`: a person answers.
    """

    def __init__(
        self,
        script: Script,
        recorded: Recorded,
        revoke: Callable[[], None] = lambda: None,
        say: Callable[[str, str], None] = lambda _number, _text: None,
    ) -> None:
        self._script = script
        self._recorded = recorded
        self._revoke = revoke
        self._say = say
        self._calls: dict[bytes, Callable[[Request], Answer]] = {
            b"POST /control": self._order,
            b"GET /counts": lambda _: Reply(200, json.dumps(recorded.counts()).encode()),
            b"GET /recorded": lambda _: Streamed(recorded.ndjson()),
        }

    def serve(self, request: Request) -> Answer:
        call = self._calls.get(request.line.rpartition(b" ")[0])
        if call is None:
            return Reply(404, b"no such call", kind=b"text/plain")
        try:
            return call(request)
        except (ValueError, msgspec.DecodeError) as fault:
            return Reply(400, str(fault).encode(), kind=b"text/plain")

    def _order(self, request: Request) -> Reply:
        order = msgspec.json.decode(request.body, type=_Order)
        if order.rules is not None:
            self._script.set(*order.rules)
        if order.clear:
            self._recorded.clear()
        if order.revoke:
            self._revoke()
        if order.say:
            self._say(order.say.number, order.say.text)
        return Reply(200, b"{}")
