"""Calls to the API: once however often they are tried, refused in words, and the key goes nowhere else."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from typer.testing import CliRunner

from alertd.cli import app
from alertd.commands.alerts.watching import watch
from alertd.commands.base.client import Client, NobodyError, RefusedError, UnreachableError, explained
from alertd.commands.people.subscribers import sent
from tests.unit.alertd.peers import Peer


def problem(slug: str, status: int, **more: Any) -> tuple[int, dict[str, str], bytes]:
    body = {"type": f"/problems/{slug}", "title": "T", "detail": "D", "what_to_do": "W", **more}
    return status, {}, json.dumps(body).encode()


def test_post_is_repeated_under_the_same_key(peer: Peer):
    """After a broken connection and a temporary refusal the same call goes out again, and the service knows it by its key."""
    url, got = peer([None, problem("store-unavailable", 503), (202, {}, b'{"id": "x"}')])
    assert Client(url, "secret").post("/v1/alerts", {"a": 1}) == {"id": "x"}
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in got}) == 1
    assert [body for _, _, _, body in got] == [b'{"a": 1}'] * 3
    assert {headers["Authorization"] for _, _, headers, _ in got} == {"Bearer secret"}


def test_what_another_answers_is_not_taken_for_done(peer: Peer):
    """A page that answers everything with 200 has revoked no key and written nobody."""
    url, _ = peer([(200, {}, b"<html>Sign in</html>"), (200, {}, b"")])
    with pytest.raises(RefusedError, match="is not alertd"):
        Client(url, "secret").delete("/v1/keys/k1")
    with pytest.raises(RefusedError, match="ended before the lines did"):
        sent(Client(url, "secret"), [(1, b"{}")])


def test_who_still_tells_of_a_restricted_child_is_named(peer: Peer):
    """One alert of a case is restricted; whoever did so hears that another still has the child's name."""
    told = {"id": "A", "state": "sending", "exact": True, "people": 1_200, "notice": None, "still_named": ["B", "C"]}
    url, _ = peer([(200, {}, json.dumps(told).encode())])
    environment = {"ALERTD_URL": url, "ALERTD_KEY": "secret"}
    done = CliRunner().invoke(app, ["alerts", "restrict", "A", "--reason", "A court"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "Alert A is sending: 1,200 people.\n")
    assert "still named by B, C" in done.stderr


@pytest.mark.parametrize(("said", "sent"), [("480", 480), ("<100", "<100")])
def test_an_approver_names_the_estimate_as_it_was_shown(peer: Peer, said: str, sent: int | str):
    """An estimate is a number, or "<100" where few people are."""
    approved = {"id": "A", "state": "approved", "exact": True, "people": 475, "approved": None, "notice": None}
    other = {"id": "B", "state": "pending", "author": "ana@centre.example", "created": "2026-11-26T01:34:31Z"}
    shown = json.dumps({**approved, "permissions": [], "still_named": [], "similar": [other]}).encode()
    url, got = peer([(200, {}, shown)] * 2)
    words = ["alerts", "approve", "A", "--seen", "1", "--people", said]
    done = CliRunner().invoke(app, words, env={"ALERTD_URL": url, "ALERTD_KEY": "secret"})
    assert done.exit_code == 0, done.output
    assert "The case has another alert: B is pending, submitted by ana@centre.example" in done.stderr
    assert [one[0] for one in got] == ["GET", "POST"], "the approver sees it before"
    assert json.loads(got[1][3])["people"] == sent


def test_service_behind_a_proxy_may_restart(peer: Peer):
    """A proxy's own 502 is no refusal by alertd."""
    url, got = peer([(502, {}, b"<html>"), (200, {}, b"{}")])
    assert Client(f"{url}/alerts/", None).get("/v1/me") == {}
    assert [path for _, path, _, _ in got] == ["/alerts/v1/me"] * 2


def test_what_is_gone_was_removed(peer: Peer):
    """When the answer to a removal broke off, not finding it any more is what was wanted; at first it is a refusal."""
    url, _ = peer([None, problem("not-found", 404), problem("not-found", 404)])
    Client(url, None).delete("/v1/subscribers/x")
    with pytest.raises(RefusedError, match="not-found"):
        Client(url, None).delete("/v1/subscribers/x")


def test_two_calls_have_two_keys(peer: Peer):
    """What is done twice on purpose is two things."""
    url, got = peer([(200, {}, b"{}")] * 2)
    client = Client(url, None)
    client.post("/v1/alerts", {})
    client.post("/v1/alerts", {})
    assert got[0][2]["Idempotency-Key"] != got[1][2]["Idempotency-Key"]


def test_answer_cut_short_is_asked_for_again(peer: Peer):
    """Half an answer is none."""
    url, got = peer([(200, {"Content-Length": "99"}, b'{"id": '), (200, {}, b'{"id": "x"}')])
    assert Client(url, None).get("/v1/me", {"at": "-5.98,37.39", "kind": None}) == {"id": "x"}
    assert [path for _, path, _, _ in got] == ["/v1/me?at=-5.98%2C37.39"] * 2


def test_refusal_is_final(peer: Peer):
    """What the service refuses is asked once, and told with every fault, its place and what to do."""
    faults = [
        {"pointer": "/kind", "detail": "K."},
        {"parameter": "limit", "detail": "L."},
        {"pointer": "", "detail": "R."},
    ]
    url, got = peer([problem("invalid-request", 400, errors=faults)])
    with pytest.raises(RefusedError) as refused:
        Client(url, None).post("/v1/alerts", b"{")
    assert str(refused.value).splitlines() == [
        "T (invalid-request): D", "  /kind: K.", "  limit: L.", "  the whole: R.", "  What to do: W",
    ]  # fmt: skip
    assert len(got) == 1


def progress(state: str, accepted: int) -> dict[str, Any]:
    counts = {"push": {"targeted": 2, "queued": 2 - accepted, "in_flight": 0, "accepted": accepted, "doubled": 0}}
    return {"id": "x", "state": state, "people": 2, "channels": counts, "first_send_s": None, "last_send_s": None}


def stream(*events: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    text = "".join(f"event: progress\ndata: {json.dumps(event)}\n\n: still here\n\n" for event in events)
    return 200, {"Content-Type": "text/event-stream"}, text.encode()


def test_watching_outlasts_a_restart(peer: Peer, capsys: pytest.CaptureFixture[str]):
    """A stream that ends early is taken up again, nothing is told twice, and the last line is the end."""
    url, got = peer([stream(progress("sending", 1)), None, stream(progress("sending", 1), progress("sent", 2))])
    watch(Client(url, None), "x", as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "sending: push 1 of 2 (accepted 1)", "sent: push 2 of 2 (accepted 2)",
    ]  # fmt: skip
    assert {path for _, path, _, _ in got} == {"/v1/alerts/x/progress"}


def test_watching_an_alert_that_is_not_sent_is_refused(peer: Peer):
    """Whoever waits for it learns by the exit code that nobody was told."""
    url, _ = peer([stream(progress("expired", 0))])
    with pytest.raises(RefusedError, match="alert x ended as expired"):
        watch(Client(url, None), "x", as_json=True)


def test_watching_says_that_an_alert_is_paused(peer: Peer, capsys: pytest.CaptureFixture[str]):
    """A line that does not move says why, and what goes on with it."""
    paused = {**progress("sending", 1), "paused": True}
    url, _ = peer([stream(paused, progress("sending", 1), {**progress("sent", 2), "paused": True})])
    watch(Client(url, None), "x", as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "sending, paused: push 1 of 2 (accepted 1); to go on: alertd alerts resume x",
        "sending: push 1 of 2 (accepted 1)", "sent: push 2 of 2 (accepted 2)",
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "says"), [("Test", "notifies testers only"), ("Actual", "no subscriber of kind")])
def test_watching_an_alert_that_had_nobody_to_notify_ends_with_a_code_of_its_own(peer: Peer, status: str, says: str):
    """Whoever waits for it does not take it for one that people got."""
    alert = json.dumps({"status": status, "kind": "general"}).encode()
    url, _ = peer([stream({**progress("sent", 0), "channels": {}, "nobody": True}), (200, {}, alert)])
    with pytest.raises(NobodyError, match=f"There was no one to notify.*{says}") as caught:
        watch(Client(url, None), "x", as_json=True)
    assert caught.value.exit_code == 3


def test_key_is_not_carried_to_another_address(peer: Peer):
    """A redirect is refused, not followed."""
    elsewhere, strangers = peer([(200, {}, b"{}")])
    url, _ = peer([(302, {"Location": elsewhere}, b"")])
    with pytest.raises(RefusedError, match="answered 302"):
        Client(url, "secret").get("/v1/me")
    assert strangers == []


def test_nobody_there_is_told_at_once():
    """A service that was never reached is not waited for."""
    with socket.socket() as held:  # bound and not listening: nobody can be there
        held.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match=r"nobody answers at .*refused.*ALERTD_URL"):
            Client(f"http://127.0.0.1:{held.getsockname()[1]}", None).get("/v1/me")


def test_a_server_without_tls_is_told_from_nobody(peer: Peer):
    """Who writes https:// for http:// reads that somebody answers there, and what to write."""
    url, _ = peer([(200, {}, b"{}")])
    with pytest.raises(UnreachableError, match=r"does not speak TLS.*http://"):
        Client(url.replace("http://", "https://"), None).get("/v1/me")


def test_stranger_is_told_from_the_service(peer: Peer):
    """What is no JSON is not alertd's, and a failure of ours is told with the name it has in the logs."""
    url, _ = peer([(200, {}, b"<html>")])
    with pytest.raises(RefusedError, match="is not alertd"):
        Client(url, None).get("/v1/me")
    assert explained(500, {"type": "/problems/internal-error", "request_id": "R1"}).endswith("  Request: R1")


def test_what_a_refusal_counts_is_told_with_what_to_do_here():
    """Whoever is to approve with another count is told that count, and how; whatever else a problem names is told by its name."""
    changed = {
        "type": "/problems/audience-changed",
        "title": "T",
        "detail": "D",
        "what_to_do": "W",
        "seen": 480,
        "now": 540,
    }
    assert explained(409, changed).splitlines() == [
        "T (audience-changed): D", "  seen: 480", "  now: 540", "  What to do: Look at it again, then approve it with --people 540.",
    ]  # fmt: skip
    few = explained(409, {**changed, "now": "<100"}).splitlines()
    assert few[2:] == ["  now: <100", "  What to do: Look at it again, then approve it with --people '<100'."]
    twin = {"type": "/problems/duplicate-case", "title": "T", "detail": "D", "alert": "01M", "extra": {"x": 1}}
    assert explained(409, twin).splitlines() == ["T (duplicate-case): D", "  alert: 01M"]


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://x", None),
        ("alerts.example", None),
        ("http://x:port", None),
        ("http://[::1", None),
        ("http://x y", None),
        ("http://x", "a\r\nb"),
        ("http://x", "ñ"),
    ],
)
def test_what_cannot_be_an_address_or_key_is_refused(url: str, key: str | None):
    """Before anything is sent."""
    with pytest.raises(RefusedError):
        Client(url, key)
