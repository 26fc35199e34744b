"""`alertd alerts ledger`, `report` and `review`: the results of an alert, and the alerts that await a review."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from alertd.commands.alerts.review import standing
from alertd.commands.base.client import segment
from alertd.commands.base.options import AlertId, common, connect
from alertd.commands.base.output import remark, tell, tell_facts, tell_json, tell_table, told_in_json
from alertd.model.states import CHANNELS, State

STATES = tuple(state.word for state in State)
LEDGER = ("row", "subscriber", "address", "channel", "state", "reason", "carrier", "attempts", "doubled")
TIMES = ("first", "last", "receipt")  # the ledger names them with `_ms` at the end
DECISIONS = ("at", "act", "outcome", "by", "state", "object")
REVIEWS = ("id", "status", "level", "people", "author", "expires")
REVIEW_IN_CONSOLE = "A review takes a signed-in operator other than the author: open the alert in the console."


def ledger(
    alert_id: AlertId,
    state: Annotated[str | None, typer.Option(help="Only the rows in this state, such as unknown or failed.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only the rows of this channel.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of rows; --json prints all.")] = 50,
) -> None:
    """List an alert's ledger: a row for each address with state, reason and carrier. With --json one object a line.

    The key needs the scope ledger:read. Each subscriber has a pseudonym that is valid for this alert only.
    """
    _check("--state", state, STATES)
    _check("--channel", channel, CHANNELS)
    rows = connect().get_lines(f"/v1/alerts/{segment(alert_id)}/deliveries")
    wanted = (row for row in rows if state in {None, row["state"]} and channel in {None, row["channel"]})
    if common().as_json:
        for row in wanted:
            tell_json(row)
        return
    shown, more = _first(wanted, limit)
    tell_table(
        (*LEDGER, *TIMES),
        ([*(row[name] for name in LEDGER), *(_time(row[f"{name}_ms"]) for name in TIMES)] for row in shown),
    )
    if more:
        remark(f"{more:,} more rows: --limit shows them, --json prints all.")


def report(alert_id: AlertId) -> None:
    """Show an alert's report: counts and times by channel, the decisions, and the outcome. The key needs the scope
    ledger:read.
    """
    found = connect().get(f"/v1/alerts/{segment(alert_id)}/report")
    if told_in_json(found):
        return
    facts = found | {"state": standing(found)}
    tell_facts({name: facts[name] for name in ("id", "state", "kind", "level", "status", "people", "outcome")})
    for version in found["versions"]:
        tell(f"\n{version['id']}, {version['occasion']}, {version['state']}:")
        tell_table(
            ("channel", "counts", "half", "95 %", "last", "seen", "left"), (_channel(version, name) for name in version["channels"])
        )  # fmt: skip
    tell("")
    tell_table(DECISIONS, ([one[name] for name in DECISIONS] for one in found["decisions"]))
    if not found["whole"]:
        remark("Older decisions are missing here: alertd audit list has them.")


def review() -> None:
    """List the alerts that their authors approved alone in an emergency and that another operator must still review,
    oldest first.
    """
    found = connect().get("/v1/reviews")
    if told_in_json(found):
        return
    tell_table(REVIEWS, ([one[name] for name in REVIEWS] for one in found["alerts"]))
    if found["alerts"]:
        remark(REVIEW_IN_CONSOLE)


def _check(option: str, value: str | None, known: Sequence[str]) -> None:
    """Raises BadParameter for a value of the option that is not among the known ones. None (not given) is allowed."""
    if value is not None and value not in known:
        raise typer.BadParameter(f"It is one of {', '.join(known)}.", param_hint=option)


def _first(rows: Iterator[Any], limit: int) -> tuple[list[Any], int]:
    """Returns the first `limit` rows, and the number of the others. Reads all rows."""
    shown, more = list[Any](), 0
    for row in rows:
        if len(shown) < limit:
            shown.append(row)
        else:
            more += 1
    return shown, more


def _channel(version: Mapping[str, Any], channel: str) -> list[Any]:
    """Returns the table row of one channel of a version: the counts by state; the seconds until 50 %, 95 % and all
    messages were handed over to carriers; the people who opened it and who opted out.
    """
    counts = {state: n for state, n in version["channels"][channel].items() if n}
    speed = version["handed_over"].get(channel, {})
    took = [f"{speed[name]:.1f} s" if name in speed else "" for name in ("p50_s", "p95_s", "last_s")]
    return [channel, counts, *took, version["seen"].get(channel, 0), version["left"].get(channel, 0)]


def _time(ms: int) -> str:
    """Returns a time (UNIX milliseconds) as RFC 3339 in UTC; "" for 0, which means never."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") if ms else ""
