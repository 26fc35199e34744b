"""`alertd suppressions`: the list of addresses that alertd never writes to. The store has hashes alone, so the list cannot be read back."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import IO, Annotated, Any

import typer

from alertd.commands.base.client import RefusedError
from alertd.commands.base.options import JsonOption, common
from alertd.commands.base.output import tell, tell_json
from alertd.commands.base.people_files import ADDRESSES

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The suppression list: add, show, remove.")

#: Addresses a call, as many as the API takes.
AT_ONCE = 5_000


class Channel(StrEnum):
    """The channels whose addresses a person can type."""

    PUSH = "push"
    SMS = "sms"
    MAIL = "mail"


class Why(StrEnum):
    """Why alertd may write to an address again."""

    REQUEST = "request"
    REASSIGNED = "reassigned"
    ERROR = "error"


ChannelArgument = Annotated[Channel, typer.Argument(help="push, sms or mail.")]
Address = Annotated[
    str, typer.Argument(help="A token, a number or a mailbox; - reads it from standard input, where no other user sees it.")
]  # fmt: skip


@app.command()
def add(
    ctx: typer.Context,
    channel: ChannelArgument,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="One address a line; - is standard input.")],
    as_json: JsonOption = False,
) -> None:
    """Put addresses on the list, such as those that told another provider STOP. The same file again changes nothing."""
    client, done = common(ctx).client(), {"listed": 0, "stopped": 0}
    for batch in _batches(file):
        addresses = [{"channel": channel.value, ADDRESSES[channel]: one} for one in batch]
        answer = client.post("/v1/suppressions", {"addresses": addresses})
        done = {name: count + answer[name] for name, count in done.items()}
    tell_json(done) if as_json else tell(
        f"{done['listed']:,} addresses are new on the list; {done['stopped']:,} addresses of subscribers are stopped."
    )


@app.command()
def show(ctx: typer.Context, channel: ChannelArgument, address: Address, as_json: JsonOption = False) -> None:
    """Say since when an address is on the list. Ends with 1 if it is not."""
    found = common(ctx).client().post("/v1/suppressions/lookup", _lookup(channel, address))
    tell_json(found) if as_json else tell(f"It is on the list since {found['since']}.")


@app.command()
def remove(
    ctx: typer.Context,
    channel: ChannelArgument,
    address: Address,
    reason: Annotated[
        Why,
        typer.Option(help="request: its owner asked; reassigned: it is another person's; error: it should never have been listed."),
    ],
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Take an address off the list: alertd writes to whoever has it again."""
    answer = common(ctx).client().post("/v1/suppressions/lift", {**_lookup(channel, address), "reason": reason.value})
    if as_json:
        tell_json(answer)
    elif answer["lifted"]:
        tell(f"It is off the list; {answer['active']} subscribers' addresses are in use again.")
    else:
        tell("It was not on the list.")


def _lookup(channel: Channel, address: str) -> dict[str, Any]:
    return {"channel": channel.value, "value": sys.stdin.readline().strip() if address == "-" else address}


def _batches(file: IO[bytes]) -> Iterator[tuple[str, ...]]:
    """The addresses of a file, as many as a call takes. Raises RefusedError for a file that is no text."""
    try:
        lines = (line.decode().strip() for line in file)
        yield from iter(lambda: tuple(itertools.islice(filter(None, lines), AT_ONCE)), ())
    except UnicodeDecodeError:
        raise RefusedError("The file is not in UTF-8: write one address a line.") from None
