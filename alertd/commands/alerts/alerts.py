"""`alertd send` and `alertd alerts`: submit, decide, watch."""

from __future__ import annotations

import json
import sys
import uuid
from functools import partial
from typing import Annotated, Any

import typer

from alertd.commands.alerts.results import ledger, report, review
from alertd.commands.alerts.review import remark_similar, standing, tell_review, waits
from alertd.commands.alerts.stops import remark_stops
from alertd.commands.alerts.watching import watch as follow
from alertd.commands.base.client import Client, UnreachableError, segment
from alertd.commands.base.options import AlertId, PeopleSeen, common, connect, people_seen
from alertd.commands.base.output import (
    estimated,
    people_of,
    remark,
    tell,
    tell_answer,
    tell_facts,
    tell_table,
    told_in_json,
)

app = typer.Typer(no_args_is_help=True, add_completion=False)
for each in (ledger, report, review):
    app.command()(each)

Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the alert.")]
Seen = Annotated[int | None, typer.Option("--seen", help="The version you saw: refused if it was changed since.")]
WATCH_HELP = "Stay until the send is complete. Then ends with 3 if there was no one to notify."
COLUMNS = ("id", "state", "status", "level", "people", "author", "expires")


def _reasoned(step: str, text: str) -> None:
    """Adds the command `step` of `alertd alerts`, which posts a reason for an alert to the API. `text`: its help."""

    @app.command(step, help=text)
    def take_step(alert_id: AlertId, reason: Reason, seen: Seen = None) -> None:
        _decided(alert_id, step, {"reason": reason}, seen)


def send(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="The alert, JSON or CAP; - is standard input.")],
    watch: Annotated[bool, typer.Option("--watch", help=WATCH_HELP)] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Dry run: same answer, but stores and sends nothing.")
    ] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            help="Any text of your choice. Repeating the command with it within 24 h submits no second alert."
        ),
    ] = None,
) -> None:
    """Submit an alert."""
    document = file.read()
    client = connect()
    query = {"dry_run": "true"} if dry_run else None
    taken, is_repeat = submit_document(client, document, query, idempotency_key or uuid.uuid4().hex)
    if is_repeat:
        remark(f"Alert {taken['id']} was submitted before and is {taken['state']}. The service stored nothing now.")
    tell_answer(taken, partial(tell_taken, dry_run=dry_run))
    if watch and not dry_run:
        follow(client, taken["id"], as_json=common().as_json)


@app.command("list")
def list_alerts(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    case: Annotated[str | None, typer.Option(help="Only those of the case with this number.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only the one with this id of your system.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only those created at or after 2026-11-26T08:00:00Z, for instance.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of rows.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Continue after the previous page.")] = None,
) -> None:
    """List your organisation's alerts, newest first."""
    query = {"state": state, "case": case, "external_id": external_id, "since": since, "limit": limit, "cursor": cursor}
    client = connect()
    page = client.get("/v1/alerts", query)
    if told_in_json(page):
        return
    tell_table(COLUMNS, ([(alert | {"state": standing(alert)})[name] for name in COLUMNS] for alert in page["alerts"]))
    remark_stops(client)
    if page["next"] is not None:
        remark(f"There are older ones: --cursor {page['next']}")


@app.command()
def show(
    alert_id: AlertId,
    language: Annotated[
        str | None, typer.Option(help="The language to show, as es; by default the alert's first.")
    ] = None,
) -> None:
    """Show an alert's current state and, before its approval, its messages; with --json also the alert as submitted."""
    client = connect()
    alert = client.get_versioned(_path(alert_id))
    if told_in_json(alert):
        return
    tell_review(client, alert, language)
    remark_stops(client)


@app.command()
def watch(alert_id: AlertId) -> None:
    """Show progress until the send is complete. Ends with 0: sent, 1: ended otherwise, 3 if there was no one to notify."""
    client = connect()
    if not common().as_json:
        remark_stops(client)
    follow(client, alert_id, as_json=common().as_json)


@app.command()
def submit(alert_id: AlertId, seen: Seen = None) -> None:
    """Submit a draft or a returned alert for approval by a second person. A Test or Exercise needs no approval."""
    _decided(alert_id, "submit", None, seen)


@app.command()
def approve(
    alert_id: AlertId,
    seen: Annotated[int, typer.Option("--seen", help="The version you looked at: the rev that `show` prints.")],
    people: PeopleSeen = None,
    plate: Annotated[
        list[str] | None, typer.Option(help="The plate of a vehicle it names, typed again. Once for each.")
    ] = None,
    overspend: Annotated[str | None, typer.Option(help="Why it may cost more than the budget of SMS.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help=WATCH_HELP)] = False,
) -> None:
    """Approve an alert, so that it is sent. Lists other living alerts of its case, and asks about them on a terminal."""
    client = connect()
    _check_similar(client, alert_id)
    said = {"people": people_seen(people), "plates": plate, "overspend": overspend}
    body = {name: value for name, value in said.items() if value is not None}
    alert = _decided(alert_id, "approve", body, seen)
    if alert["approved"] and not common().as_json:  # a person who repeats the approval sees that the first one counts
        tell(f"{alert['approver']} approved it at {alert['approved']}.")
    if watch:
        follow(client, alert_id, as_json=common().as_json)


def _check_similar(client: Client, alert_id: str) -> None:
    """Prints the other living alerts of the case. If there are any, asks on a terminal; raises Abort for a no."""
    alert = client.get(_path(alert_id))
    remark_similar(alert)
    if alert.get("similar") and sys.stdin.isatty():
        typer.confirm("Approve this alert as well?", abort=True, err=True)


@app.command()
def resend(
    alert_id: AlertId,
    state: Annotated[
        list[str] | None, typer.Option(help="unknown or failed; may be given twice. Default: both.")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="Of one channel. Default: of all.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help=WATCH_HELP)] = False,
) -> None:
    """Send messages again that failed or may not have arrived. A message of unknown fate may then arrive twice."""
    client = connect()
    body = ({"states": state} if state else {}) | ({"channel": channel} if channel else {})
    answer = client.post(f"/v1/alerts/{segment(alert_id)}/deliveries/resend", body)
    tell_answer(answer, f"{answer['resent']:,} messages are sent again. The alert is {answer['state']}.")
    if watch:
        follow(client, alert_id, as_json=common().as_json)


_reasoned("reject", "Reject a pending alert: it is never sent.")
_reasoned("return", "Return a pending alert to its author.")


@app.command()
def cancel(
    alert_id: AlertId,
    reason: Reason,
    code: Annotated[
        str, typer.Option(help="The reason that recipients read: withdrawn, sent-in-error, wrong-information or drill.")
    ] = "withdrawn",
    silent: Annotated[bool, typer.Option("--silent", help="Do not notify the recipients.")] = False,
    seen: Seen = None,
) -> None:
    """Cancel an alert that should not have been sent: stop sending it, and notify its recipients unless --silent."""
    body = {"reason": reason, "code": code, "notify": "none" if silent else "full"}
    _decided(alert_id, "cancel", body, seen)


@app.command()
def pause(alert_id: AlertId, seen: Seen = None) -> None:
    """Stop sending an alert until it is resumed. Queued messages stay queued. No person is notified of the pause."""
    alert = _posted(alert_id, "pause", None, seen)
    words = f"Alert {alert['id']} is paused: {people_of(alert)} people. To go on: alertd alerts resume {alert['id']}"
    tell_answer(alert, words)


@app.command()
def resume(alert_id: AlertId, seen: Seen = None) -> None:
    """Resume a paused alert: alertd sends its queued messages, unless a stop holds them."""
    alert = _posted(alert_id, "resume", None, seen)
    if told_in_json(alert):
        return
    tell(f"Alert {alert['id']} goes on, it is {alert['state']}: {people_of(alert)} people.")
    remark_stops(connect())


_reasoned("stand-down", "Hide it and send nothing more, until it is reopened or closed.")


@app.command("stand-down-case")
def stand_down_case(number: Annotated[str, typer.Argument(help="The case's number.")], reason: Reason) -> None:
    """Stand down every alert of a case, and return the pending ones to their authors. Asks other organisations to do
    the same with theirs; if you administer the organisation that runs the service, stands theirs down, too.
    """
    answer = connect().post(f"/v1/cases/{segment(number)}/stand-down", {"reason": reason})
    if told_in_json(answer):
        return
    for alert in answer["alerts"]:
        tell(f"Alert {alert['id']} is {alert['state']}: {people_of(alert)} people.")
    if not answer["alerts"]:
        tell(f"Your organisation has no alert of case {number} to stand down. Check the number.")
    if answer["asked"]:
        tell("Other organisations were asked to stand down theirs, if they have such a case.")
    elif answer["others"]:
        tell(f"Alerts of other organisations that were stood down or returned, too: {answer['others']}.")


_reasoned("reopen", "Show it again and send its queued messages.")


@app.command()
def close(
    alert_id: AlertId,
    outcome: Annotated[str, typer.Option("--outcome", help="The outcome; stored with the case and never published.")],
    silent: Annotated[bool, typer.Option("--silent", help="Send no notice yet; close again to send it.")] = False,
    seen: Seen = None,
) -> None:
    """Close an alert because its case is over, and notify its recipients unless --silent."""
    body = {"outcome": outcome, "notify": "none" if silent else "full"}
    _decided(alert_id, "close", body, seen)


@app.command()
def update(
    alert_id: AlertId,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="The complete new alert, JSON; - is standard input.")],
    notify: Annotated[
        str,
        typer.Option(
            "--notify",
            help="Which recipients are notified again: full (with its loudness), silent (by push, without a sound) or none.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Dry run: same answer, but stores and sends nothing.")
    ] = False,
    seen: Seen = None,
) -> None:
    """Submit an update, which replaces an alert's content once another person has approved it."""
    try:
        document = json.loads(file.read())
    except ValueError:
        raise typer.BadParameter("This is no JSON.", param_hint="FILE") from None
    body = {**document, "notify": notify} if isinstance(document, dict) else document
    query = {"dry_run": "true"} if dry_run else None
    taken = connect().post(f"{_path(alert_id)}/updates", body, query, version=seen)
    tell_answer(taken, partial(tell_taken, dry_run=dry_run))


_reasoned(
    "restrict",
    "Remove the child's identity and photos, everywhere and permanently; only age and sex are kept. Other alerts of its case are not changed; the output lists them.",
)


@app.command()
def extend(
    alert_id: AlertId,
    until: Annotated[str, typer.Option("--until", help="The new end, as 2026-11-28T08:00:00Z.")],
    reason: Reason,
    seen: Seen = None,
) -> None:
    """Give an alert a later end. Recipients are not notified. The author of an Actual alert cannot extend it."""
    _decided(alert_id, "extend", {"expires": until, "reason": reason}, seen)


@app.command()
def purge(
    alert_id: AlertId,
    why: Annotated[str, typer.Option("--reason", help="retention, request, order or error.")],
    seen: Seen = None,
) -> None:
    """Destroy the key of an alert's case, permanently. The child's data in all its alerts becomes unreadable."""
    _decided(alert_id, "purge", {"reason": why}, seen)


@app.command()
def hold(alert_id: AlertId, reason: Reason) -> None:
    """Place a legal hold on an alert's case: the case cannot be purged until another person releases the hold."""
    _told_hold(connect().post(f"{_path(alert_id)}/hold", {"reason": reason}))


@app.command()
def release(alert_id: AlertId) -> None:
    """Release the legal hold on an alert's case. It takes a person other than the one who placed the hold, and neither of
    the two may have made the other's key. An administrator of the organisation that runs the service may also release
    the holds of other organisations.
    """
    _told_hold(connect().post(f"{_path(alert_id)}/release"))


def _told_hold(hold: Any) -> None:
    """Prints whether a legal hold is on the case, and who placed it, where and when."""
    kept = f"kept: {hold['by']} of {hold['by_org']}, {hold['at']}" if hold["held"] else "not kept"
    tell_answer(hold, f"{hold['id']} is {kept}.")


def _decided(alert_id: str, step: str, body: Any, seen: int | None) -> dict[str, Any]:
    """Takes one step of an alert by the API, prints the alert's new state, and returns the alert."""
    alert = _posted(alert_id, step, body, seen)
    if told_in_json(alert):
        return alert
    tell(f"Alert {alert['id']} is {alert['state']}: {people_of(alert)} people.")
    if alert.get("notice"):
        tell(alert["notice"])
    if alert.get("still_named"):
        remark(f"The child is still named by {', '.join(alert['still_named'])}: restrict that, too.")
    return alert


def _posted(alert_id: str, step: str, body: Any, seen: int | None) -> dict[str, Any]:
    """Takes one step of an alert by the API, and returns the alert after it. `seen`: the version the caller saw."""
    alert: dict[str, Any] = connect().post(f"{_path(alert_id)}/{step}", body, version=seen)
    return alert


def _path(alert_id: str) -> str:
    return f"/v1/alerts/{segment(alert_id)}"


REGIONS_TOLD = 10

ALERT = ("/v1/alerts", "application/json")
CAP = ("/v1/cap", "application/cap+xml")
WHOLE = 0.9995  # a larger share would be printed as 100.0%


def is_xml(document: bytes) -> bool:
    """Returns whether the document is XML (CAP) and not JSON, by its first bytes in UTF-8 or by a mark of UTF-16."""
    begin = document[:1000].lstrip(b" \t\r\n\xef\xbb\xbf")  # for this check only: the API reports a misplaced mark
    return begin.startswith((b"<", b"\xff\xfe", b"\xfe\xff"))


def _regions(shares: list[dict[str, Any]]) -> list[str]:
    """Returns the first regions of an area in words, each with the share of it in the area unless that is 100 %."""
    named = [
        f"{one['name']} ({one['code']})" + (f" {one['share']:.1%}" if one["share"] < WHOLE else "")
        for one in shares[:REGIONS_TOLD]
    ]
    return [*named, f"and {len(shares) - REGIONS_TOLD} more"] if len(shares) > REGIONS_TOLD else named


def tell_taken(taken: dict[str, Any], *, dry_run: bool) -> None:
    """Prints the answer to a submitted alert or update, similar alerts, and the command to approve it."""
    area, audience = taken["area"], taken["audience"]
    facts = {
        "alert": None if dry_run else taken["id"],
        "state": taken["state"],
        "people": estimated(audience["people"]),
        "addresses": audience["addresses"],
        "seconds needed": taken["eta"],
        "area": f"{area['km2']:,} km2",
        "regions": _regions(area["regions"]),
        "repaired": area["repairs"],
        "neighbours": waits(taken["permissions"]),
    }
    if update := taken.get("update"):
        facts |= {"told again": estimated(update["told_again"]), "newly inside": estimated(update["newly_inside"])}
    tell_facts(facts)
    remark_similar(taken)
    if dry_run:
        tell("Nothing was done: this was a dry run.")
    elif taken["state"] == "pending":
        tell(f"Another person must approve it: alertd alerts approve {taken['id']} --seen {taken['rev']}")


def submit_document(
    client: Client, document: bytes, query: dict[str, str] | None, idempotency_key: str
) -> tuple[Any, bool]:
    """Posts an alert, JSON or CAP. Returns the answer, and whether it repeats an earlier one. Raises RefusedError."""
    path, content_type = CAP if is_xml(document) else ALERT
    try:
        return client.submit(path, document, query, idempotency_key=idempotency_key, content_type=content_type)
    except UnreachableError as error:
        hint = f"  If it was taken is not known. Sent again with --idempotency-key {idempotency_key} it is taken once."
        raise UnreachableError(f"{error}\n{hint}") from None
