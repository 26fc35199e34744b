"""`alertd carriers`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from alertd.commands.client import RefusedError, segment
from alertd.commands.options import JsonOption, common
from alertd.commands.output import tell, tell_json, tell_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Carriers: list, test.")

#: What a carrier's answer means to whoever asked.
SAYS = {
    "accepted": "{carrier} has it: look whether it arrived.",
    "retry": "{carrier} does not take it now ({reason}). Try again in a while.",
    "never": "{carrier} refuses it ({reason}): look at the address, the sender and the account.",
    "unknown": "{carrier} did not answer ({reason}): it may still arrive.",
    "withheld": "It was not sent ({reason}): {carrier} could not be reached, or no worker runs.",
}


class Language(StrEnum):
    """Those that the test is said in."""

    EN = "en"
    ES = "es"
    FR = "fr"
    AR = "ar"


COLUMNS = ("name", "channel", "rate", "state")


@app.callback()
def _group() -> None: ...


@app.command("list")
def list_carriers(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The carriers, how many messages a second each may be given, and whether it rests because it failed."""
    found = common(ctx).client().get("/v1/carriers")
    rows = ((one["name"], one["channel"], one["rate"] or "no limit", _state(one)) for one in found["carriers"])
    tell_json(found) if as_json else tell_table(COLUMNS, rows)


def _state(one: Mapping[str, Any]) -> str:
    if not one["at_work"]:
        return "no worker sends"
    return "fails, rests" if one["breaker_open"] else "works"


@app.command("test")
def send_test(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The carrier.")],
    to: Annotated[str, typer.Argument(help="An address of your own: a push token, a number or a mailbox.")],
    language: Annotated[Language, typer.Option(help="Of the message.")] = Language.EN,
    as_json: JsonOption = False,
) -> None:
    """Send one message that says that it is a test, by this carrier, to an address of your own. Ends with 0 when the carrier takes it."""
    body = {"to": to, "language": language.value}
    found = common(ctx).client().post(f"/v1/carriers/{segment(name)}/test", body)
    says = SAYS[found["answer"]].format(carrier=found["carrier"], reason=found["reason"].replace("_", " "))
    if found["answer"] != "accepted":
        if as_json:
            tell_json(found)
        raise RefusedError(says)
    tell_json(found) if as_json else tell(says)
