"""`alertd carriers`: lists the carriers with their states, and sends a test message through one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from alertd.commands.base.client import RefusedError, segment
from alertd.commands.base.options import connect
from alertd.commands.base.output import tell, tell_answer, tell_table, told_in_json

app = typer.Typer(no_args_is_help=True, add_completion=False)


class Language(StrEnum):
    """The languages in which alertd has a test message."""

    EN = "en"
    ES = "es"
    FR = "fr"
    AR = "ar"


COLUMNS = ("name", "channel", "rate", "state", "cause")


@app.callback()
def _group() -> None: ...


@app.command("list")
def list_carriers() -> None:
    """List the carriers: the maximum messages per second, whether each can send, and if not, why and what to check."""
    found = connect().get("/v1/carriers")
    tell_answer(found, lambda _: tell_table(COLUMNS, map(_row, found["carriers"])))


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the table row of a carrier. The rate is in messages per second."""
    cause = one["cause"]["sentence"] if one["cause"] else ""
    return (
        one["name"],
        one["channel"],
        f"{one['rate']:g}" if one["rate"] else "no limit",
        one["state"].replace("_", " "),
        cause,
    )


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(help="The carrier.")],
    to: Annotated[
        str,
        typer.Argument(
            help="An address of your own: a push token, a number or a mailbox; for web push the id of a tester among your subscribers."
        ),
    ],
    language: Annotated[Language, typer.Option(help="Of the message.")] = Language.EN,
) -> None:
    """Send one test message through this carrier, to an address of your own. Ends with 0 if the carrier accepts it,
    else with 1 after it has printed why not and which settings to check.
    """
    body = {"to": to, "language": language.value}
    found = connect().post(f"/v1/carriers/{segment(name)}/test", body)
    is_told = told_in_json(found)
    if found["answer"] != "accepted":
        cause = found["cause"]["sentence"] if found["cause"] else f"the answer was {found['answer']}."
        raise RefusedError(f"{found['carrier']} did not accept the test: {cause}")
    if not is_told:
        tell(f"{found['carrier']} accepted it. Check that it arrived.")
