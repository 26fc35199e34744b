"""`alertd suppressions`: adds, looks up and removes addresses on the suppression list, to which alertd never writes.
The store has only hashes, so that no command can print the list.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import IO, Annotated, Any

import typer

from alertd.commands.base.client import RefusedError
from alertd.commands.base.options import connect
from alertd.commands.base.output import tell_answer
from alertd.commands.base.people_files import ADDRESSES

app = typer.Typer(no_args_is_help=True, add_completion=False)

#: Addresses in one call: the maximum of the API.
AT_ONCE = 5_000


class Channel(StrEnum):
    """The channels with addresses that a person can type."""

    PUSH = "push"
    SMS = "sms"
    MAIL = "mail"


class Why(StrEnum):
    """The reasons to remove an address from the list."""

    REQUEST = "request"
    REASSIGNED = "reassigned"
    ERROR = "error"


ChannelArgument = Annotated[Channel, typer.Argument(help="push, sms or mail.")]
Address = Annotated[
    str, typer.Argument(help="A token, a number or a mailbox; - reads it from standard input, where no other user sees it.")
]  # fmt: skip


@app.command()
def add(
    channel: ChannelArgument,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="One address a line; - is standard input.")],
) -> None:
    """Put addresses on the list, for instance of people who opted out at another provider. Repeating it changes
    nothing.
    """
    client, done = connect(), {"listed": 0, "stopped": 0}
    for batch in _batches(file):
        addresses = [{"channel": channel.value, ADDRESSES[channel]: one} for one in batch]
        answer = client.post("/v1/suppressions", {"addresses": addresses})
        done = {name: count + answer[name] for name, count in done.items()}
    tell_answer(
        done,
        f"{done['listed']:,} addresses are new on the list; {done['stopped']:,} addresses of subscribers are stopped.",
    )


@app.command()
def show(channel: ChannelArgument, address: Address) -> None:
    """Show since when an address is on the list. Ends with 1 if it is not on the list."""
    found = connect().post("/v1/suppressions/lookup", _lookup(channel, address))
    tell_answer(found, f"It is on the list since {found['since']}.")


@app.command()
def remove(
    channel: ChannelArgument,
    address: Address,
    reason: Annotated[
        Why,
        typer.Option(help="request: its owner asked; reassigned: it is another person's; error: it should never have been listed."),
    ],
) -> None:  # fmt: skip
    """Remove an address from the list: alertd may write to its subscriber again."""
    answer = connect().post("/v1/suppressions/lift", {**_lookup(channel, address), "reason": reason.value})
    off = f"It is off the list; {answer['active']} subscribers' addresses are in use again."
    tell_answer(answer, off if answer["lifted"] else "It was not on the list.")


def _lookup(channel: Channel, address: str) -> dict[str, Any]:
    """Returns the address as the API takes it. Reads a line of standard input if `address` is "-"."""
    return {"channel": channel.value, "value": sys.stdin.readline().strip() if address == "-" else address}


def _batches(file: IO[bytes]) -> Iterator[tuple[str, ...]]:
    """Yields the addresses of a file, one a line, in groups of at most 5,000. Skips blank lines. Raises RefusedError
    for a file that is not in UTF-8.
    """
    try:
        lines = (line.decode().strip() for line in file)
        yield from iter(lambda: tuple(itertools.islice(filter(None, lines), AT_ONCE)), ())
    except UnicodeDecodeError:
        raise RefusedError("The file is not in UTF-8: write one address a line.") from None
