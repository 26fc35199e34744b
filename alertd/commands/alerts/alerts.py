"""`alertd send` and `alertd alerts`: submit, decide, watch."""

from __future__ import annotations

import json
import sys
import uuid
from typing import Annotated, Any

import typer

from alertd.commands.alerts.results import ledger, report, review
from alertd.commands.alerts.review import remark_similar, standing, tell_review
from alertd.commands.alerts.stops import remark_stops
from alertd.commands.alerts.submitted import submit_document, tell_taken
from alertd.commands.alerts.watching import watch as follow
from alertd.commands.base.client import Client, segment
from alertd.commands.base.options import AlertId, JsonOption, PeopleSeen, common, people_seen
from alertd.commands.base.output import people_of, remark, tell, tell_json, tell_table

sending = typer.Typer(add_completion=False)
app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Alerts: list, show, decide, watch, pause, account for."
)
for each in (ledger, report, review):
    app.command()(each)

Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the alert.")]
Seen = Annotated[int | None, typer.Option("--seen", help="The version you saw: refused if it was changed since.")]
WATCH_HELP = "Stay until nobody more is told. Then ends with 3 if there was nobody to notify."
COLUMNS = ("id", "state", "status", "level", "people", "author", "expires")


@sending.command()
def send(
    ctx: typer.Context,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="The alert, JSON or CAP; - is standard input.")],
    watch: Annotated[bool, typer.Option("--watch", help=WATCH_HELP)] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Answer the same and do nothing.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A word of your own for this alert: sent again within 24 h, it is the same one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Submit an alert."""
    document = file.read()
    client = common(ctx).client()
    query = {"dry_run": "true"} if dry_run else None
    taken, is_repeat = submit_document(client, document, query, idempotency_key or uuid.uuid4().hex)
    if is_repeat:
        remark(f"Alert {taken['id']} was submitted before and is {taken['state']}. The service stored nothing now.")
    tell_json(taken) if as_json else tell_taken(taken, dry_run=dry_run)
    if watch and not dry_run:
        follow(client, taken["id"], as_json=as_json)


@app.command("list")
def list_alerts(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    case: Annotated[str | None, typer.Option(help="Only those of the case with this number.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only the one your system calls so.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those made then or later, as 2026-11-26T08:00:00Z.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where the page before ended.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The organisation's alerts, newest first."""
    query = {"state": state, "case": case, "external_id": external_id, "since": since, "limit": limit, "cursor": cursor}
    client = common(ctx).client()
    page = client.get("/v1/alerts", query)
    if as_json:
        tell_json(page)
        return
    tell_table(COLUMNS, ([(alert | {"state": standing(alert)})[name] for name in COLUMNS] for alert in page["alerts"]))
    remark_stops(client)
    if page["next"] is not None:
        remark(f"There are older ones: --cursor {page['next']}")


@app.command()
def show(
    ctx: typer.Context,
    alert_id: AlertId,
    language: Annotated[str | None, typer.Option(help="Of what it would say, as es; by default its first.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One alert as it stands, and what it would say while somebody is to decide; with --json as it was sent, too."""
    client = common(ctx).client()
    alert = client.get_versioned(_path(alert_id))
    if as_json:
        tell_json(alert)
        return
    tell_review(client, alert, language)
    remark_stops(client)


@app.command()
def watch(ctx: typer.Context, alert_id: AlertId, as_json: JsonOption = False) -> None:
    """Stay until nobody more is told. Ends with 0 if it was sent, 1 if it ended otherwise, 3 if there was nobody to notify."""
    client = common(ctx).client()
    if not as_json:
        remark_stops(client)
    follow(client, alert_id, as_json=as_json)


@app.command()
def submit(ctx: typer.Context, alert_id: AlertId, seen: Seen = None, as_json: JsonOption = False) -> None:
    """A draft, or an alert that was returned, asks for its second person."""
    _decided(common(ctx).client(), alert_id, "submit", None, seen, as_json=as_json)


@app.command()
def approve(
    ctx: typer.Context,
    alert_id: AlertId,
    seen: Annotated[int, typer.Option("--seen", help="The version you looked at: the rev that `show` tells.")],
    people: PeopleSeen = None,
    plate: Annotated[
        list[str] | None, typer.Option(help="The plate of a vehicle it names, typed again. Once for each.")
    ] = None,
    overspend: Annotated[str | None, typer.Option(help="Why it may cost more than the budget of SMS.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help=WATCH_HELP)] = False,
    as_json: JsonOption = False,
) -> None:
    """Approve an alert, so that it is sent. Names the other living alerts of its case, and on a terminal asks first if there are any."""
    client = common(ctx).client()
    _check_similar(client, alert_id)
    said = {"people": people_seen(people), "plates": plate, "overspend": overspend}
    body = {name: value for name, value in said.items() if value is not None}
    alert = _decided(client, alert_id, "approve", body, seen, as_json=as_json)
    if alert["approved"] and not as_json:  # who says it again sees that it is as it was
        tell(f"{alert['approver']} approved it at {alert['approved']}.")
    if watch:
        follow(client, alert_id, as_json=as_json)


def _check_similar(client: Client, alert_id: str) -> None:
    """Names the other living alerts of the case. On a terminal the approver confirms that this one is meant, too."""
    alert = client.get(_path(alert_id))
    remark_similar(alert)
    if alert.get("similar") and sys.stdin.isatty():
        typer.confirm("Approve this alert as well?", abort=True, err=True)


@app.command()
def resend(
    ctx: typer.Context,
    alert_id: AlertId,
    state: Annotated[
        list[str] | None, typer.Option(help="unknown or failed; may be given twice. Default: both.")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="Of one channel. Default: of all.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help=WATCH_HELP)] = False,
    as_json: JsonOption = False,
) -> None:
    """Send again what may not have arrived. What did arrive although nobody knows comes twice."""
    client = common(ctx).client()
    body = ({"states": state} if state else {}) | ({"channel": channel} if channel else {})
    answer = client.post(f"/v1/alerts/{segment(alert_id)}/deliveries/resend", body)
    tell_json(answer) if as_json else tell(
        f"{answer['resent']:,} messages are sent again. The alert is {answer['state']}."
    )
    if watch:
        follow(client, alert_id, as_json=as_json)


@app.command()
def reject(
    ctx: typer.Context, alert_id: AlertId, reason: Reason, seen: Seen = None, as_json: JsonOption = False
) -> None:
    """It will not be sent."""
    _decided(common(ctx).client(), alert_id, "reject", {"reason": reason}, seen, as_json=as_json)


@app.command("return")
def give_back(
    ctx: typer.Context, alert_id: AlertId, reason: Reason, seen: Seen = None, as_json: JsonOption = False
) -> None:
    """Give a pending alert back to its author."""
    _decided(common(ctx).client(), alert_id, "return", {"reason": reason}, seen, as_json=as_json)


@app.command()
def cancel(
    ctx: typer.Context,
    alert_id: AlertId,
    reason: Reason,
    code: Annotated[
        str, typer.Option(help="What people are told: withdrawn, sent-in-error, wrong-information or drill.")
    ] = "withdrawn",
    silent: Annotated[bool, typer.Option("--silent", help="Tell nobody.")] = False,
    seen: Seen = None,
    as_json: JsonOption = False,
) -> None:
    """It should not have been: nothing more is sent, and whoever was told is told so."""
    body = {"reason": reason, "code": code, "notify": _notify(silent=silent)}
    _decided(common(ctx).client(), alert_id, "cancel", body, seen, as_json=as_json)


@app.command()
def pause(ctx: typer.Context, alert_id: AlertId, seen: Seen = None, as_json: JsonOption = False) -> None:
    """Stop sending an alert until it is resumed. Queued messages stay queued. alertd notifies nobody of the pause."""
    alert = _posted(common(ctx).client(), alert_id, "pause", None, seen)
    if as_json:
        tell_json(alert)
        return
    tell(f"Alert {alert['id']} is paused: {people_of(alert)} people. To go on: alertd alerts resume {alert['id']}")


@app.command()
def resume(ctx: typer.Context, alert_id: AlertId, seen: Seen = None, as_json: JsonOption = False) -> None:
    """Resume a paused alert: its queued messages are sent, unless a stop holds them."""
    client = common(ctx).client()
    alert = _posted(client, alert_id, "resume", None, seen)
    if as_json:
        tell_json(alert)
        return
    tell(f"Alert {alert['id']} goes on, it is {alert['state']}: {people_of(alert)} people.")
    remark_stops(client)


@app.command("stand-down")
def stand_down(
    ctx: typer.Context, alert_id: AlertId, reason: Reason, seen: Seen = None, as_json: JsonOption = False
) -> None:
    """Hide it and send nothing more, until it is reopened or closed."""
    _decided(common(ctx).client(), alert_id, "stand-down", {"reason": reason}, seen, as_json=as_json)


@app.command("stand-down-case")
def stand_down_case(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(help="The case's number.")],
    reason: Reason,
    as_json: JsonOption = False,
) -> None:
    """Stand every alert of a case down, and return those that wait for their second person. Other organisations are asked, unless you administer
    the organisation that runs the service.
    """
    answer = common(ctx).client().post(f"/v1/cases/{segment(number)}/stand-down", {"reason": reason})
    if as_json:
        tell_json(answer)
        return
    for alert in answer["alerts"]:
        tell(f"Alert {alert['id']} is {alert['state']}: {people_of(alert)} people.")
    if not answer["alerts"]:
        tell(f"Your organisation has no alert of case {number} to stand down. Check the number.")
    if answer["asked"]:
        tell("Other organisations were asked to stand down theirs, if they have such a case.")
    elif answer["others"]:
        tell(f"Alerts of other organisations that were stood down or returned, too: {answer['others']}.")


@app.command()
def reopen(
    ctx: typer.Context, alert_id: AlertId, reason: Reason, seen: Seen = None, as_json: JsonOption = False
) -> None:
    """Show it again; what was queued goes out."""
    _decided(common(ctx).client(), alert_id, "reopen", {"reason": reason}, seen, as_json=as_json)


@app.command()
def close(
    ctx: typer.Context,
    alert_id: AlertId,
    outcome: Annotated[str, typer.Option("--outcome", help="What came of it; kept inside and never told.")],
    silent: Annotated[bool, typer.Option("--silent", help="Tell nobody yet; close it again to tell.")] = False,
    seen: Seen = None,
    as_json: JsonOption = False,
) -> None:
    """It is over, and whoever was told is told so."""
    body = {"outcome": outcome, "notify": _notify(silent=silent)}
    _decided(common(ctx).client(), alert_id, "close", body, seen, as_json=as_json)


@app.command()
def update(
    ctx: typer.Context,
    alert_id: AlertId,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="The alert as it is to be, JSON; - is standard input.")],
    notify: Annotated[
        str,
        typer.Option(
            "--notify",
            help="Who is told again: full (as loud as it is), silent (by push, without a sound) or none.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Answer the same and do nothing.")] = False,
    seen: Seen = None,
    as_json: JsonOption = False,
) -> None:
    """Put what is known now in its place, once another person has approved it."""
    try:
        document = json.loads(file.read())
    except ValueError:
        raise typer.BadParameter("This is no JSON.", param_hint="FILE") from None
    body = {**document, "notify": notify} if isinstance(document, dict) else document
    query = {"dry_run": "true"} if dry_run else None
    taken = common(ctx).client().post(f"{_path(alert_id)}/updates", body, query, version=seen)
    tell_json(taken) if as_json else tell_taken(taken, dry_run=dry_run)


@app.command()
def restrict(
    ctx: typer.Context, alert_id: AlertId, reason: Reason, seen: Seen = None, as_json: JsonOption = False
) -> None:
    """Take the child's facts and photos out of it, everywhere and for good; it goes on with age and sex alone. Other alerts of its case stay as
    they are: they are named.
    """
    _decided(common(ctx).client(), alert_id, "restrict", {"reason": reason}, seen, as_json=as_json)


@app.command()
def extend(
    ctx: typer.Context,
    alert_id: AlertId,
    until: Annotated[str, typer.Option("--until", help="The new end, as 2026-11-28T08:00:00Z.")],
    reason: Reason,
    seen: Seen = None,
    as_json: JsonOption = False,
) -> None:
    """Put its end off; nobody hears of it. Its author cannot."""
    _decided(common(ctx).client(), alert_id, "extend", {"expires": until, "reason": reason}, seen, as_json=as_json)


@app.command()
def purge(
    ctx: typer.Context,
    alert_id: AlertId,
    why: Annotated[str, typer.Option("--reason", help="retention, request, order or error.")],
    seen: Seen = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy the key of its case, for good: nothing of the child can be read any more, in no alert of the case."""
    _decided(common(ctx).client(), alert_id, "purge", {"reason": why}, seen, as_json=as_json)


@app.command()
def hold(ctx: typer.Context, alert_id: AlertId, reason: Reason, as_json: JsonOption = False) -> None:
    """Put its case under a legal hold: it is not purged until another person releases it."""
    _told_hold(common(ctx).client().post(f"{_path(alert_id)}/hold", {"reason": reason}), as_json=as_json)


@app.command()
def release(ctx: typer.Context, alert_id: AlertId, as_json: JsonOption = False) -> None:
    """Release the legal hold on its case. The person who put it there cannot. An administrator of the organisation that runs the service may release any."""
    _told_hold(common(ctx).client().post(f"{_path(alert_id)}/release"), as_json=as_json)


def _told_hold(hold: Any, *, as_json: bool) -> None:
    if as_json:
        tell_json(hold)
        return
    tell(
        f"{hold['id']} is kept: {hold['by']} of {hold['by_org']}, {hold['at']}."
        if hold["held"]
        else f"{hold['id']} is not kept."
    )


def _notify(*, silent: bool) -> str:
    return "none" if silent else "full"


def _decided(client: Client, alert_id: str, step: str, body: Any, seen: int | None, *, as_json: bool) -> dict[str, Any]:
    alert = _posted(client, alert_id, step, body, seen)
    if as_json:
        tell_json(alert)
        return alert
    tell(f"Alert {alert['id']} is {alert['state']}: {people_of(alert)} people.")
    if alert.get("notice"):
        tell(alert["notice"])
    if alert.get("still_named"):
        remark(f"The child is still named by {', '.join(alert['still_named'])}: restrict that, too.")
    return alert


def _posted(client: Client, alert_id: str, step: str, body: Any, seen: int | None) -> dict[str, Any]:
    """The alert after a step."""
    alert: dict[str, Any] = client.post(f"{_path(alert_id)}/{step}", body, version=seen)
    return alert


def _path(alert_id: str) -> str:
    return f"/v1/alerts/{segment(alert_id)}"
