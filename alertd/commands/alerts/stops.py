"""`alertd stop` and `alertd resume`: stop all sending of the service, of an organisation, or of one key."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertd.commands.base.client import Client
from alertd.commands.base.options import connect
from alertd.commands.base.output import remark, tell, tell_answer

Service = Annotated[bool, typer.Option("--service", help="The whole service; for administrators.")]
Key = Annotated[str | None, typer.Option("--key", help="One key of your organisation, by its id.")]


def stop(
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    service: Service = False,
    key: Key = None,
) -> None:
    """Halt everything that your organisation sends, at once. Two people resume.

    With --service halts everything that the service sends, with --key only the alerts of one key or operator.
    """
    answer = connect().post("/v1/stop", {**_scope(service=service, key=key), "reason": reason})
    tell_answer(answer, _tell)


def resume(service: Service = False, key: Key = None) -> None:
    """Lift a stop: the first person asks, the second lifts it.

    Both run this command, with the same options as `alertd stop` had.
    """
    answer = connect().post("/v1/resume", _scope(service=service, key=key))
    tell_answer(answer, _tell)


def remark_stops(client: Client) -> None:
    """Prints the active stops to standard error, because the state of a stopped alert does not show the stop."""
    for one in client.get("/v1/stop")["stops"]:
        if one["stopped"]:
            remark(
                f"Stopped since {one['at']} by {one['by']} of {one['by_org']}: {one['scope']}, {one['reason']}. Two people resume: alertd resume"
            )


def _scope(*, service: bool, key: str | None) -> dict[str, Any]:
    """Returns the scope as the API takes it; {} for the caller's organisation. Raises BadParameter for both options."""
    if service and key is not None:
        raise typer.BadParameter("it is the service or one key", param_hint="--key")
    return {"what": "service"} if service else {"what": "key", "key": key} if key is not None else {}


def _tell(answer: dict[str, Any]) -> None:
    """Prints whether the scope is stopped, and whether a second person must still resume it."""
    if not answer["stopped"]:
        tell(f"Sending goes on: {answer['scope']}.")
    elif answer["resume_asked_by"]:
        tell(f"Still stopped: {answer['scope']}. A second person must resume it, too.")
    else:
        waiting = "" if answer["alerts"] is None else f" {answer['alerts']} alerts under way wait."
        tell(f"Stopped: {answer['scope']}.{waiting} Two people resume: alertd resume")
