"""What `show --json` told, as `set` takes it: the document alone, or with what stands around it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from alertd.commands.base.client import RefusedError

WholeFile = Annotated[
    typer.FileBinaryRead,
    typer.Argument(help="The whole of it as JSON, or what `show --json` told; - is standard input."),
]


def whole(given: bytes, part: str) -> bytes:
    """The document in what `show` told under `part`; what is no such answer is left as it is, for the API to judge. Raises RefusedError where
    it was not told.
    """
    try:
        told = json.loads(given)
    except ValueError:
        return given
    if not isinstance(told, dict) or part not in told:
        return given
    if told[part] is None:
        raise RefusedError(
            f"`show` did not tell you the whole of it: its {part} is null. An administrator of it sees it."
        )
    return json.dumps(told[part]).encode()
