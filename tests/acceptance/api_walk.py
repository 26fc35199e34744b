"""A walk over every operation of the API with calls that it takes, and what came back: the examples in the API's document.

`python -m tests.acceptance.api_walk` starts a sandbox of its own, walks, and writes alertd/api/docs/examples.json anew.
"""

from __future__ import annotations

import http.server
import json
import re
import tempfile
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alertd.common.ids import TokenPurpose
from tests.acceptance.api_samples import ACK, ELSEWHERE, FACTS, MARIA, SQUARE, WATER, text_of, the_alert
from tests.acceptance.conftest import Served
from tests.passkeys import Authenticator
from tests.pictures import drawn, written
from tests.unit.alertd.samples import MISSING_CHILD, changed

FILE = Path(__file__).parents[2] / "alertd" / "api" / "docs" / "examples.json"
JSON, NDJSON = "application/json", "application/x-ndjson"
BINARY = "application/octet-stream"
CAP, MULTIPART, EVENTS = "application/cap+xml", "multipart/form-data", "text/event-stream"
#: The header by which a browser says that a call is its own page's.
PAGE = {"Sec-Fetch-Site": "same-origin"}


class _Refusals(urllib.request.HTTPErrorProcessor):
    """Leaves them to be looked at."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:  # noqa: ARG002  urllib's
        return response


class Walk:
    """Makes calls and keeps what was sent and came back, by the operation's id."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.key = served.key
        self.cookie = ""  # that the last answer gave
        self.examples: dict[str, Any] = {name: dict(parts) for name, parts in ELSEWHERE.items()}

    def call(
        self, name: str, method: str, path: str, body: Any = None, *, kind: str = JSON, data: bytes = b"", **more: Any
    ) -> Any:
        """One call; the first of each operation and media type is kept. It must be taken."""
        raw = data or (body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode())
        sent = {"Accept": more.get("accept", JSON)} | more.get("headers", {})
        if "Cookie" not in sent:
            sent["Authorization"] = f"Bearer {more.get('key') or self.key}"
        if raw:
            sent["Content-Type"] = kind
        request = urllib.request.Request(self.served.url + path, raw or None, sent, method=method)
        with urllib.request.build_opener(_Refusals).open(request, timeout=60) as response:
            assert response.status < 400, (name, response.read())
            came = response.headers.get_content_type()
            answer = _read(response, came, more.get("lines"))
            self.cookie = response.headers.get("Set-Cookie", "").partition(";")[0]
        kept = self.examples.setdefault(name, {})
        if body is not None:
            kept.setdefault("body", {}).setdefault(kind.partition(";")[0], body)
        if answer is not None:
            kept.setdefault("gives", {}).setdefault(came, more.get("show", lambda whole: whole)(answer))
        return answer


def _read(response: Any, kind: str, lines: int | None) -> Any:
    if kind == EVENTS or lines:
        found = [response.readline() for _ in range(lines or 3)]
        return b"".join(found).decode()
    raw = response.read()
    if not raw or kind == "image/jpeg":
        return None
    return json.loads(raw) if kind == JSON else raw.decode()


def walk(served: Served) -> dict[str, Any]:
    """Every operation once and more: the examples by operation id, each with `body` and `gives` by media type."""
    w = Walk(served)
    now = datetime.now(UTC)
    ana, bea = _access(w)
    _operators(w)
    _places(w)
    _subscribers(w)
    alert = the_alert(now)
    media = _photo(w, ana)
    alert = changed(alert, "case/children/0/photos", [{"media": media}])
    told = _told(w, alert, ana, bea)
    _decided(w, {**alert, "external_id": "cms-88214"}, ana, bea)
    _alone(w, {**alert, "external_id": "cms-88216"})
    _on_call(w, {**alert, "external_id": "cms-88217"})
    _beyond(w, {**alert, "external_id": "cms-88218"})
    _messages(w, alert)
    _around(w, told, now, bea)
    _webhooks(w)
    _distributors(w, {**alert, "external_id": "cms-88219"}, ana, bea)
    _life(w, told, media, now, ana, bea)
    w.call("rotate_master_key", "POST", "/v1/master-key/rotation", {"give_up_unreadable": False})
    w.call("show_master_key_rotation", "GET", "/v1/master-key/rotation")
    return {name: w.examples[name] for name in sorted(w.examples)}


def _access(w: Walk) -> tuple[str, str]:
    w.call("show_me", "GET", "/v1/me")
    scopes = ["alerts:read", "alerts:write", "alerts:approve", "ledger:read", "regions:read"]
    ana, bea, eva = (
        w.call("create_key", "POST", "/v1/keys", {"subject": f"{who}@centre.example", "scopes": scopes})
        for who in ("ana", "bea", "eva")
    )
    w.call("list_keys", "GET", "/v1/keys")
    police = {"name": "Policía Nacional", "cap_sender": "alerts@police.example", "jurisdiction": {"regions": ["ES"]}}
    w.call("put_organisation", "PUT", "/v1/organisations/police", police)
    w.call("show_organisation", "GET", "/v1/organisations/police")
    w.call("list_organisations", "GET", "/v1/organisations")
    w.call("rotate_key", "POST", f"/v1/keys/{eva['key']}/rotate", {"overlap_s": 3600})
    w.call("revoke_key", "DELETE", f"/v1/keys/{eva['key']}")
    _carriers(w)
    w.call("show_kind", "GET", "/v1/kinds/missing-child", show=_shorter)
    return ana["token"], bea["token"]


def _carriers(w: Walk) -> None:
    w.call("list_carriers", "GET", "/v1/carriers")
    w.call("test_carrier", "POST", "/v1/carriers/sandbox-mail/test", {"to": "me@centre.example"})


def _operators(w: Walk) -> None:
    """Somebody is added, comes in with a code and a passkey, signs in and out, and goes."""
    order = {"subject": "eva@centre.example", "name": "Eva Solís", "roles": ["author", "approver"]}
    made = w.call("create_operator", "POST", "/v1/operators", order)
    one = f"/v1/operators/{made['id']}"
    w.call("list_operators", "GET", "/v1/operators")
    w.call("change_operator", "PATCH", one, {"roles": ["approver"]})
    code = w.call("invite_operator", "POST", f"{one}/code", {"replace": True})["code"]
    w.call("sign_in_ways", "GET", "/v1/sign-in")
    w.call("sign_out", "POST", "/v1/sign-out", headers=_entered(w, made["url"], code))
    w.call("remove_operator", "DELETE", one)


def _signed_in(w: Walk, name: str) -> dict[str, str]:
    """The headers of a page at which somebody more has just shown a passkey."""
    order = {"subject": f"{name}@centre.example", "name": name.title(), "roles": ["author", "approver"]}
    made = w.call("create_operator", "POST", "/v1/operators", order)
    return _entered(w, made["url"], made["code"])


def _entered(w: Walk, url: str, code: str) -> dict[str, str]:
    """The headers of a page at which an invited operator registered a passkey, and signed in with it."""
    passkey = Authenticator(url.partition("/console")[0])
    told = w.call("passkey_options", "POST", "/v1/passkeys/options", {"code": code}, headers=PAGE)
    body = {"code": code, "passkey": passkey.register(told["public_key"])}
    w.call("register_passkey", "POST", "/v1/passkeys", body, headers=PAGE)
    told = w.call("sign_in_options", "POST", "/v1/sign-in/options", headers=PAGE)
    w.call("sign_in", "POST", "/v1/sign-in", passkey.sign(told["public_key"]), headers=PAGE)
    return PAGE | {"Cookie": w.cookie}


def _alone(w: Walk, alert: dict[str, Any]) -> None:
    """Carl allows that alerts are approved alone, Dora does so, and Fay reviews it."""
    carl = w.call("create_key", "POST", "/v1/keys", {"subject": "carl@centre.example", "scopes": ["admin"]})["token"]
    default = "/v1/organisations/default"
    whole = w.call("show_organisation", "GET", default)["organisation"]
    rule = {"levels": ["child-alert"], "after_min": 0}
    w.call("put_organisation", "PUT", default, {**whole, "break_glass": rule}, key=carl)
    dora, fay = _signed_in(w, "dora"), _signed_in(w, "fay")
    alert = changed(alert, "author/subject", "dora@centre.example")
    one = f"/v1/alerts/{w.call('create_alert', 'POST', '/v1/alerts', alert, headers=dora)['id']}"
    w.call("break_glass", "POST", f"{one}/break-glass", {"reason": "Nobody on call answers", "rev": 1}, headers=dora)
    w.call("list_reviews", "GET", "/v1/reviews")
    review = {"verdict": "justified", "note": "Two were called in vain; the alert was right"}
    w.call("review_alert", "POST", f"{one}/review", review, headers=fay)
    w.call("put_organisation", "PUT", default, whole, key=carl)
    w.call("cancel_alert", "POST", f"{one}/cancel", {"reason": "It was a walk", "notify": "none"})


def _on_call(w: Walk, alert: dict[str, Any]) -> None:
    """Gus's alert waits; Hal has it."""
    desk = {
        "name": "Duty desk",
        "subject": "hal@centre.example",
        "addresses": [{"channel": "sms", "number": "+34600000000"}],
    }
    hours = [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "20:00"}]
    deputy = {"name": "Deputy", "addresses": [{"channel": "mail", "mailbox": "deputy@centre.example"}], "hours": hours}
    steps = [{"people": [desk]}, {"people": [deputy]}]
    rota = {"time_zone": "Europe/Madrid", "after_min": 5, "times": 3, "hold_min": 15, "steps": steps}
    w.call("put_oncall", "PUT", "/v1/oncall", rota)
    w.call("show_oncall", "GET", "/v1/oncall")
    gus, hal = _signed_in(w, "gus"), _signed_in(w, "hal")
    alert = changed(alert, "author/subject", "gus@centre.example")
    one = f"/v1/alerts/{w.call('create_alert', 'POST', '/v1/alerts', alert, headers=gus)['id']}"
    w.served.wait_for(lambda: any(call["pages"] for call in w.served.call("GET", "/v1/oncall/alerts")[1]["calls"]))
    w.call("list_calls", "GET", "/v1/oncall/alerts")
    w.call("take_alert", "POST", f"{one}/take", headers=hal)
    w.call("cancel_alert", "POST", f"{one}/cancel", {"reason": "It was a walk", "notify": "none"})


def _beyond(w: Walk, alert: dict[str, Any]) -> None:
    """Sevilla alerts in Cádiz, too, which refuses, is asked again, and permits it."""
    names, ids = {"sevilla": "Policía de Sevilla", "cadiz": "Policía de Cádiz"}, {"sevilla": "ES-SE", "cadiz": "ES-CA"}
    for org, region in ids.items():
        ground = {"name": names[org], "jurisdiction": {"regions": [region]}}
        w.call("put_organisation", "PUT", f"/v1/organisations/{org}", ground)
    scopes = ["alerts:read", "alerts:write", "alerts:approve"]
    ana, bea, eva = (
        w.call("create_key", "POST", "/v1/keys", {"subject": f"{who}@{org}.example", "scopes": scopes, "organisation": org})[
            "token"
        ]
        for who, org in (("ana", "sevilla"), ("bea", "sevilla"), ("eva", "cadiz"))
    )  # fmt: skip
    alert = changed(changed(alert, "author/subject", None), "case/children/0/photos", [])
    alert = changed(alert, "case/number", "SE-2026-118")
    both = {**alert, "target": {"regions": ["ES-SE", "ES-CA"], "beyond": "ask"}}
    made = w.call("create_alert", "POST", "/v1/alerts", both, key=ana)
    rev = w.served.call("GET", f"/v1/alerts/{made['id']}", key=bea)[1]["rev"]
    w.call("approve_alert", "POST", f"/v1/alerts/{made['id']}/approve", {"rev": rev}, key=bea)
    one = f"/v1/permissions/{made['id']}"
    w.call("list_permissions", "GET", "/v1/permissions?state=asked", key=eva)
    ground = w.call("show_permission", "GET", one, key=eva, show=_in_few)["ground"]
    w.call("refuse_permission", "POST", f"{one}/refuse", {"reason": "We look into it ourselves"}, key=eva)
    w.call("ask_permission", "POST", f"/v1/alerts/{made['id']}/permissions", {"organisation": "cadiz"}, key=ana)
    w.call("grant_permission", "POST", f"{one}/grant", {"ground": ground}, key=eva)
    order = {"reason": "She was found", "code": "withdrawn", "notify": "none"}
    w.call("cancel_alert", "POST", f"/v1/alerts/{made['id']}/cancel", order, key=ana)


def _in_few(request: dict[str, Any]) -> dict[str, Any]:
    """A request with its ground and its messages cut short."""
    first = {**request["messages"], **{name: request["messages"][name][:1] for name in ("languages", "messages")}}
    return {**request, "geometry": {"type": "MultiPolygon", "coordinates": []}, "messages": first}


def _shorter(kind: dict[str, Any]) -> dict[str, Any]:
    """A kind with what is long of it cut."""
    codes = {fact: dict(list(words.items())[:2]) for fact, words in kind["codes"].items()}
    schema = {name: kind["json_schema"][name] for name in ("title", "type", "required")}
    return {**kind, "codes": {"eyes": codes["eyes"]}, "json_schema": schema}


def _places(w: Walk) -> None:
    w.call("list_regions", "GET", "/v1/regions?q=sevilla&kind=city&limit=1")
    w.call("show_region", "GET", "/v1/regions/41091?geometry=none")
    w.call("draw_region", "PUT", "/v1/regions/PATROL-1", {"name": "Our patrol area", "geometry": SQUARE})
    w.call("preview_target", "POST", "/v1/targets/preview", {"target": {"polygons": [SQUARE]}})
    w.call("delete_region", "DELETE", "/v1/regions/PATROL-1")
    _own_regions(w)


def _own_regions(w: Walk) -> None:
    """A file of one region, tried."""
    harbour = {"type": "Feature", "properties": {"id": "PORT-1", "title": "Muelle de Tablada"}, "geometry": SQUARE}
    text = json.dumps({"type": "FeatureCollection", "features": [harbour]})
    words = "format=geojson&name=port&kind=city&code_field=id&name_field=title&country=ES&dry_run=true"
    begun = w.call("import_regions", "POST", f"/v1/regions/import?{words}", text, kind=BINARY)
    one = f"/v1/regions/imports/{begun['id']}"
    w.served.wait_for(lambda: w.served.call("GET", one)[1]["state"] != "running")
    w.call("show_import", "GET", one)


def _subscribers(w: Walk) -> None:
    one = "/v1/subscribers/maria"
    w.call("put_subscriber", "PUT", one, MARIA)
    w.call("show_subscriber", "GET", one)
    w.call("list_subscribers", "GET", "/v1/subscribers?limit=1")
    w.call("patch_subscriber", "PATCH", one, {"places": {"work": {"point": [-5.98, 37.39]}}})
    w.call("put_place", "PUT", f"{one}/places/other", {"region": "41091"})
    w.call("drop_place", "DELETE", f"{one}/places/other")
    w.call("put_address", "PUT", f"{one}/addresses/2", {"channel": "push", "token": "token-of-maria"})
    w.call("drop_address", "DELETE", f"{one}/addresses/2")
    w.call("lookup_subscriber", "POST", "/v1/subscribers/lookup", {"channel": "sms", "value": "+34612345678"})
    left = {"channel": "sms", "value": "+34699999999"}
    w.call(
        "suppress_addresses", "POST", "/v1/suppressions", {"addresses": [{"channel": "sms", "number": "+34699999999"}]}
    )
    w.call("lookup_suppression", "POST", "/v1/suppressions/lookup", left)
    w.call("lift_suppression", "POST", "/v1/suppressions/lift", {**left, "reason": "error"})
    address = {"channel": "push", "token": "token-of-p1"}
    lines = [{"id": "p1", **MARIA, "addresses": [address]}, {"id": "p2", **MARIA, "languages": []}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    w.call("import_subscribers", "POST", "/v1/subscribers/import", text, kind=NDJSON)


def _photo(w: Walk, key: str) -> str:
    edge = b"--edge\r\nContent-Disposition: form-data; name="
    data = edge + b'"photo"; filename="lucia.jpg"\r\n\r\n' + written(drawn(1200, 1600)) + b"\r\n"
    data += (
        edge + b'"facts"\r\nContent-Type: application/json\r\n\r\n' + json.dumps(FACTS).encode() + b"\r\n--edge--\r\n"
    )
    form = {"photo": "…", "facts": FACTS}
    made = w.call("create_media", "POST", "/v1/media", form, kind=f"{MULTIPART}; boundary=edge", data=data, key=key)
    w.examples["create_media"]["body"][JSON] = {**FACTS, "url": "https://centre.example/lucia.jpg"}
    w.call("show_media", "GET", f"/m/{made['id']}", key=key)
    return str(made["id"])


def _told(w: Walk, alert: dict[str, Any], ana: str, bea: str) -> str:
    """An alert that goes out; its id."""
    made = w.call("create_alert", "POST", "/v1/alerts", alert, key=ana)
    one = f"/v1/alerts/{made['id']}"
    people = made["audience"]["people"]
    w.call("approve_alert", "POST", f"{one}/approve", {"people": people, "rev": made["rev"]}, key=bea)
    w.served.wait_for(lambda: w.served.progress(made["id"])["state"] == "sent")
    w.call("alert_progress", "GET", f"{one}/progress")
    w.call("alert_progress", "GET", f"{one}/progress", accept=EVENTS)
    w.call("alert_deliveries", "GET", f"{one}/deliveries", lines=2)
    w.call("show_alert", "GET", one)
    w.call("list_alerts", "GET", "/v1/alerts?limit=1")
    w.call("alert_history", "GET", f"{one}/history")
    w.call("alert_curve", "GET", f"{one}/curve")
    w.call("explain_subscriber", "GET", f"/v1/subscribers/maria/explain?alert={made['id']}")
    return str(made["id"])


def _decided(w: Walk, alert: dict[str, Any], ana: str, bea: str) -> None:
    """Drafts, and what becomes of them."""
    draft = w.call("create_alert", "POST", "/v1/alerts", {**alert, "state": "draft"}, key=ana)
    one = f"/v1/alerts/{draft['id']}"
    w.call("patch_alert", "PATCH", one, {"target": {"regions": ["41004"]}}, key=ana)
    w.call("submit_alert", "POST", f"{one}/submit", key=ana)
    w.call("return_alert", "POST", f"{one}/return", {"reason": "Which exit?"}, key=bea)
    w.call("submit_alert", "POST", f"{one}/submit", key=ana)
    w.call("reject_alert", "POST", f"{one}/reject", {"reason": "Found meanwhile"}, key=bea)
    ring = {"center": [-5.9756, 37.3919], "radius_km": 30, "loudness": "normal", "delay_min": 15}
    later = {**alert, "external_id": "cms-88215", "target": {"rings": [ring]}}
    one = f"/v1/alerts/{w.call('create_alert', 'POST', '/v1/alerts', later, key=ana)['id']}"
    w.call("approve_alert", "POST", f"{one}/approve", {"rev": w.served.call("GET", one)[1]["rev"]}, key=bea)
    w.call("pause_alert", "POST", f"{one}/pause", key=ana)
    w.call("resume_alert", "POST", f"{one}/resume", key=bea)
    order = {"reason": "Two reports of one child", "code": "withdrawn"}
    w.call("cancel_alert", "POST", f"{one}/cancel", order, key=ana)


def _messages(w: Walk, alert: dict[str, Any]) -> None:
    w.call("preview_messages", "POST", "/v1/messages/preview?channels=push,sms&languages=es", alert)
    texts = "/v1/organisations/default/texts"
    one = f"{texts}/ended/sms/fr/text"
    w.call("put_text", "PUT", one, {"template": "{{ heading }}. {{ happened }} {{ wish }}"})
    w.call("show_text", "GET", one)
    w.call("list_texts", "GET", texts)
    w.call("drop_text", "DELETE", one)


def _around(w: Walk, alert: str, now: datetime, bea: str) -> None:
    """CAP, stops, receipts, events and the audit."""
    sent = now.strftime("%Y-%m-%dT%H:%M:%S-00:00")
    water = w.call("create_cap", "POST", "/v1/cap", WATER.replace("{sent}", sent), kind=CAP)
    w.call("show_cap", "GET", f"/v1/alerts/{water['id']}.cap", accept=CAP)
    w.call("stop_sending", "POST", "/v1/stop", {"reason": "A key is in the wrong hands"}, key=bea)
    w.call("list_stops", "GET", "/v1/stop")
    w.call("resume_sending", "POST", "/v1/resume", {"what": "organisation"}, key=bea)
    w.call("resume_sending", "POST", "/v1/resume", {"what": "organisation"}, key=w.served.person("carl@centre.example"))
    tag = w.served.tags().make(alert, 0, TokenPurpose.ACK)
    w.call("show_standing", "GET", f"/r/{tag}")
    w.call("take_ack", "POST", f"/r/{tag}?state=seen")
    w.call("list_events", "GET", "/v1/events?limit=2")
    w.call("list_events", "GET", "/v1/events", accept=EVENTS, lines=4)
    w.call("list_audit", "GET", "/v1/audit?limit=1")
    w.call("verify_audit", "GET", "/v1/audit/verify")


def _webhooks(w: Walk) -> None:
    order = {"url": "https://cases.centre.example/alertd", "types": ["alert.sent", "alert.closed"]}
    one = f"/v1/webhooks/{w.call('create_webhook', 'POST', '/v1/webhooks', order)['id']}"
    w.call("list_webhooks", "GET", "/v1/webhooks")
    w.call("get_webhook", "GET", one)
    w.call("rotate_webhook", "POST", f"{one}/rotate")
    w.call("test_webhook", "POST", f"{one}/test")
    w.call("resume_webhook", "POST", f"{one}/resume")
    w.call("replay_webhook", "POST", f"{one}/replay", {"cursor": "e1"})
    w.call("remove_webhook", "DELETE", one)


class _Gateway(http.server.BaseHTTPRequestHandler):
    """Takes whatever it is posted, or refuses it, by the path."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400 if self.path == "/refuses" else 202)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Nothing."""


def _distributors(w: Walk, alert: dict[str, Any], ana: str, bea: str) -> None:
    """Two get an alert: one says later that it has it, and is asked when it is over; the other refuses it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gateway) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{gateway.server_port}"
        _distributed(w, alert, ana, bea, site)
        gateway.shutdown()
    names = {name for name in w.examples if "distribut" in name or name == "confirm_takedown"}
    kept = json.dumps({name: w.examples[name] for name in names})
    w.examples |= json.loads(
        kept.replace(site, "https://gateway.radio.example").replace("127.0.0.1", "gateway.radio.example")
    )


def _distributed(w: Walk, alert: dict[str, Any], ana: str, bea: str, site: str) -> None:
    radio = {
        "name": "Radio Sevilla", "url": f"{site}/cap", "languages": ["es"], "levels": ["child-alert"],
        "jurisdiction": {"regions": ["ES-SE"]}, "authorization": "Bearer 5f0c",
    }  # fmt: skip
    made = w.call(
        "create_distributor",
        "POST",
        "/v1/distributors",
        radio,
        show=lambda one: {**one, "secret": "whsec_and-its-secret"},
    )
    screens = w.call("create_distributor", "POST", "/v1/distributors", {"name": "Screens", "url": f"{site}/refuses"})
    w.call("list_distributors", "GET", "/v1/distributors")
    one = f"/v1/distributors/{made['id']}"
    w.call("get_distributor", "GET", one)
    made = w.call(
        "rotate_distributor", "POST", f"{one}/rotate", show=lambda one: {**one, "secret": "whsec_and-its-secret"}
    )
    w.call("put_distributor", "PUT", one, {name: value for name, value in radio.items() if name != "authorization"})
    w.call("test_distributor", "POST", f"{one}/test")
    told = w.call("create_alert", "POST", "/v1/alerts", alert, key=ana)["id"]
    rev = w.served.call("GET", f"/v1/alerts/{told}")[1]["rev"]
    w.call("approve_alert", "POST", f"/v1/alerts/{told}/approve", {"rev": rev}, key=bea)
    having = f"/v1/alerts/{told}/distribution"
    w.served.wait_for(lambda: _became(w, having, {"accepted", "refused"}))
    ack = ACK.format(sent=text_of(datetime.now(UTC)).replace("Z", "-00:00"), alert=told)
    w.call("take_distributor_receipt", "POST", f"/v1{made['receipts'].partition('/v1')[2]}", ack, kind=CAP)
    w.call("alert_distribution", "GET", having)
    w.call("resend_distribution", "POST", f"{having}/{screens['id']}/resend", key=ana)
    w.served.wait_for(lambda: _became(w, having, {"acknowledged", "refused"}))
    w.call("cancel_alert", "POST", f"/v1/alerts/{told}/cancel", {"reason": "It was a walk", "notify": "none"})
    w.served.wait_for(lambda: w.served.call("GET", having)[1]["distributors"][0]["takedown"]["state"] == "open")
    w.call("confirm_takedown", "POST", f"{having}/{made['id']}/confirm", key=ana)
    w.call("remove_distributor", "DELETE", f"/v1/distributors/{screens['id']}")


def _became(w: Walk, having: str, states: set[str]) -> bool:
    """Whether the messages of an alert are in these states, and in all of them."""
    shares = w.served.call("GET", having)[1]["distributors"]
    return {one["state"] for share in shares for one in share["messages"]} == states


def _life(w: Walk, alert: str, media: str, now: datetime, ana: str, bea: str) -> None:
    """What follows an alert, to its end."""
    one = f"/v1/alerts/{alert}"
    w.call("resend_deliveries", "POST", f"{one}/deliveries/resend", {"states": ["failed"], "channel": "sms"}, key=bea)
    wider = {**w.served.call("GET", one)[1]["alert"], "target": {"regions": ["ES-SE"]}, "notify": "full"}
    update = w.call("update_alert", "POST", f"{one}/updates", wider, key=ana)
    w.call("approve_alert", "POST", f"/v1/alerts/{update['id']}/approve", {"rev": update["rev"]}, key=bea)
    later = {"expires": text_of(now + timedelta(days=2)), "reason": "Still missing"}
    w.call("extend_alert", "POST", f"{one}/extend", later, key=bea)
    w.call("restrict_alert", "POST", f"{one}/restrict", {"reason": "Her identity is protected."}, key=ana)
    w.call("stand_down_alert", "POST", f"{one}/stand-down", {"reason": "Somebody may have seen her."}, key=ana)
    w.call("reopen_alert", "POST", f"{one}/reopen", {"reason": "It was another child."}, key=bea)
    case = f"/v1/cases/{MISSING_CHILD['case']['number']}"
    w.call("stand_down_case", "POST", f"{case}/stand-down", {"reason": "She was found."}, key=ana)
    closing = {"outcome": "She was found, well.", "notify": "none"}
    w.call("close_alert", "POST", f"{one}/close", closing, key=bea)
    w.call("found_alert", "POST", f"{one}/found", closing, key=bea)
    w.served.wait_for(lambda: _is_told(w, alert))
    w.call("alert_report", "GET", f"{one}/report", show=_short)
    w.call("alert_evidence", "GET", f"{one}/evidence", show=lambda whole: {**whole, "payload": whole["payload"][:72]})
    w.call("show_evidence_key", "GET", "/v1/evidence/key")
    w.call("hold_alert", "POST", f"{one}/hold", {"reason": "Court order 12/2026"}, key=ana)
    w.call("show_hold", "GET", f"{one}/hold", key=bea)
    w.call("release_alert", "POST", f"{one}/release", key=w.served.person("carl@centre.example"))
    w.call("purge_alert", "POST", f"{one}/purge", {"reason": "retention"})
    w.call("forget_subscriber", "DELETE", "/v1/subscribers/maria")


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """A report with a few of each."""
    few = {name: report[name][:2] for name in ("versions", "decisions")}
    return {**report, **few, "regions": dict(list(report["regions"].items())[:3])}


def _is_told(w: Walk, alert: str) -> bool:
    """Whether no version of an alert is sent any more."""
    sending = w.served.call("GET", "/v1/alerts?telling=true")[1]["alerts"]
    listed = w.served.call("GET", "/v1/alerts?limit=50")[1]["alerts"]
    return not any(one["id"].startswith(alert) and one["state"] in {"approved", "sending"} for one in sending + listed)


def plain(examples: dict[str, Any], url: str) -> str:
    """The examples as text, without what is secret or of this machine."""
    text = json.dumps(examples, ensure_ascii=False, indent=1)
    text = re.sub(r"\b(?:live|test)_[0-9a-f]{12}_[\w-]+", "live_5a4381a3b6df_and-its-secret", text)
    text = re.sub(r"\bwhsec_[\w+/=]+", "whsec_and-its-secret", text)
    text = re.sub(r"\b(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}\b", "7K2M-9QXD-4TVB-31HN", text)
    text = re.sub(r"http://localhost:\d+", "https://alerts.example", text)
    return text.replace(url, "https://alerts.example") + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder) / "data", 2000, {"ALERTD_METRICS__LISTEN": "127.0.0.1:0"})
        served.start()
        try:
            FILE.write_text(plain(walk(served), served.url), encoding="utf-8")
        finally:
            served.stop()


if __name__ == "__main__":
    main()
