"""Operators over a real store and the whole API: they come in with a code, sign in with a passkey, and are let out at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from alertd.api.http.call import CHECK_VALID_S
from alertd.config.sections import ApiSection, SignInSection
from alertd.config.settings import Settings
from alertd.model.operator import Role
from alertd.model.organisation import Jurisdiction
from alertd.rendering import Renderer
from alertd.service.access import Credential, Terms
from alertd.service.carriers.carriers import Carriers
from alertd.service.container import Container
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.api_keys import digest_of
from alertd.store.organisations.sessions import SessionStore
from tests.integration.acts import api_of
from tests.integration.consoles import ANA, OWN
from tests.integration.organisations.operators import ORIGIN, ROOT, Console
from tests.passkeys import PRESENT, Authenticator
from tests.waiting import until


async def test_a_code_lets_somebody_in_once_and_their_passkey_ever_after(console: Console):
    """The code registers a passkey and begins a session; used again it is nothing; the passkey signs in as that person."""
    made, passkey = await console.add(), Authenticator(ORIGIN)
    assert made["url"] == f"{ORIGIN}/console#/enrol/{made['code']}"
    status, told = await console.enrolled(passkey, made["code"].lower().replace("-", " "))
    assert (status, told["subject"], told["name"]) == (201, ANA["subject"], ANA["name"])
    assert (await console.ask("POST", "/v1/passkeys/options", {"code": made["code"]}))[0] == 403
    console.leave()
    assert (await console.ask("GET", "/v1/me"))[0] == 401
    assert (await console.signed_in(passkey))[0] == 200
    me = (await console.ask("GET", "/v1/me"))[1]
    assert (me["subject"], me["name"], me["signed_in"], me["key"]) == (ANA["subject"], ANA["name"], True, made["id"])
    assert me["scopes"] == ["alerts:approve", "alerts:read", "alerts:write", "ledger:explain", "regions:read"]
    assert (await console.ask("POST", "/v1/sign-out"))[0] == 204
    assert (await console.ask("GET", "/v1/me"))[0] == 401


async def test_a_session_may_what_its_roles_may(console: Console, ana: Authenticator):
    """As they are now: what was taken from somebody is refused at the next call."""
    await console.signed_in(ana)
    status, refusal = await console.ask("GET", "/v1/operators")
    assert (status, refusal["scope"]) == (403, "admin")
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    assert (one["passkeys"], one["invited_until"]) == (1, None)
    assert (await console.administrate("PATCH", f"/v1/operators/{one['id']}", {"roles": ["viewer"]}))[0] == 200
    assert (await console.ask("GET", "/v1/me"))[1]["scopes"] == ["alerts:read", "regions:read"]


async def test_a_disabled_operator_is_out_at_once_and_stays_out(console: Console, ana: Authenticator):
    """Sessions end, the passkey does not sign in; enabled again they sign in anew, and the old session stays over."""
    await console.signed_in(ana)
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    path = f"/v1/operators/{one['id']}"
    assert (await console.administrate("PATCH", path, {"disabled": True}))[1]["disabled"] is True
    assert (await console.ask("GET", "/v1/me"))[0] == 401
    assert (await console.signed_in(ana))[0] == 403
    assert (await console.administrate("POST", f"{path}/code"))[0] == 409
    assert (await console.administrate("PATCH", path, {"disabled": False}))[0] == 200
    assert (await console.ask("GET", "/v1/me"))[0] == 401
    console.parts.clock.pass_by(1)
    assert (await console.signed_in(ana))[0] == 200
    assert (await console.administrate("DELETE", path))[0] == 204
    assert (await console.ask("GET", "/v1/me"))[0] == 401
    assert (await console.signed_in(ana))[0] == 403


async def test_a_lost_passkey_is_replaced(console: Console, ana: Authenticator):
    """A code that replaces ends what was begun with the passkeys there were, and these; the new one is the person's."""
    await console.signed_in(ana)
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    made = (await console.administrate("POST", f"/v1/operators/{one['id']}/code", {"replace": True}))[1]
    assert (await console.ask("GET", "/v1/me"))[0] == 401
    assert (await console.signed_in(ana))[0] == 403
    console.parts.clock.pass_by(1)
    assert (await console.enrolled(Authenticator(ORIGIN), made["code"]))[0] == 201
    assert (await console.ask("GET", "/v1/me"))[1]["subject"] == ANA["subject"]
    assert await console.parts.db.execute("HLEN", keys.PASSKEYS) == 1


async def test_a_challenge_is_answered_once_in_time_and_at_home(console: Console, ana: Authenticator):
    """An answer that is sent again, comes after five minutes, was given to another page, without its person, by another key, by a
    copy whose count is behind, or to a challenge of another ceremony lets nobody in.
    """
    options = await console.options()
    answer = ana.sign(options)
    assert (await console.ask("POST", "/v1/sign-in", answer))[0] == 200
    assert (await console.ask("POST", "/v1/sign-in", answer))[0] == 403
    late = ana.sign(await console.options())
    console.parts.clock.pass_by(301)
    assert (await console.ask("POST", "/v1/sign-in", late))[0] == 403
    elsewhere = Authenticator("https://evil.example", id=ana.id, key=ana.key, handle=ana.handle, count=10)
    alone = Authenticator(ORIGIN, id=ana.id, key=ana.key, handle=ana.handle, count=20, flags=PRESENT)
    other = Authenticator(ORIGIN, id=ana.id, handle=ana.handle, count=30)
    copy = Authenticator(ORIGIN, id=ana.id, key=ana.key, handle=ana.handle, count=0)
    assert [(await console.signed_in(one))[0] for one in (elsewhere, alone, other)] == [403, 403, 403]
    assert (await console.signed_in(copy))[0] == 403
    assert (await console.signed_in(Authenticator(ORIGIN, handle=ana.handle)))[0] == 403
    code = (await console.add(subject="eva@centre.example"))["code"]
    enrolment = (await console.ask("POST", "/v1/passkeys/options", {"code": code}))[1]["public_key"]
    assert (await console.ask("POST", "/v1/sign-in", ana.sign(enrolment | {"rpId": "localhost"})))[0] == 403
    audit = (await console.administrate("GET", "/v1/audit"))[1]["entries"]
    assert [one["outcome"] for one in audit if one["act"] == "session.prove" and one["outcome"] != "begun"] == [
        *["refused"] * 4, "done",
    ]  # fmt: skip


async def test_a_code_ends_with_its_time_and_with_the_next(console: Console):
    """Only the last that was made counts, for an hour; and not for a passkey that is somebody's already."""
    first = await console.add()
    second = (await console.administrate("POST", f"/v1/operators/{first['id']}/code"))[1]
    assert (await console.ask("POST", "/v1/passkeys/options", {"code": first["code"]}))[0] == 403
    passkey = Authenticator(ORIGIN)
    assert (await console.enrolled(passkey, second["code"]))[0] == 201
    other = await console.add(subject="eva@centre.example")
    status, refusal = await console.enrolled(passkey, other["code"])
    assert (status, refusal["type"]) == (409, "/problems/precondition-failed")
    console.parts.clock.pass_by(3601)
    assert (await console.ask("POST", "/v1/passkeys/options", {"code": other["code"]}))[0] == 403


async def test_a_session_ends_when_nothing_is_done_and_after_a_shift(console: Console, ana: Authenticator):
    """Half an hour without a call, or twelve hours whatever is done."""
    await console.signed_in(ana)
    console.parts.clock.pass_by(31 * 60)
    assert (await console.ask("GET", "/v1/me"))[0] == 401
    await console.signed_in(ana)
    for _ in range(35):
        console.parts.clock.pass_by(20 * 60)
        assert (await console.ask("GET", "/v1/me"))[0] == 200
    console.parts.clock.pass_by(20 * 60)
    assert (await console.ask("GET", "/v1/me"))[0] == 401


@pytest.mark.parametrize("console", [Settings(sign_in=SignInSection(idle_minutes=1))], indirect=True)
async def test_a_session_that_is_used_lasts_however_soon_idle_ones_end(console: Console, ana: Authenticator):
    """The shortest that can be set is a minute, and that without a call."""
    await console.signed_in(ana)
    for _ in range(4):
        console.parts.clock.pass_by(50)
        assert (await console.ask("GET", "/v1/me"))[0] == 200
    console.parts.clock.pass_by(61)
    assert (await console.ask("GET", "/v1/me"))[0] == 401


@pytest.mark.parametrize("console", [Settings(sign_in=SignInSection(address_header="X-Forwarded-For"))], indirect=True)
async def test_whoever_guesses_waits_whatever_address_they_say_they_have(console: Console):
    """A proxy may add the address that it sees as a line of its own, below the caller's."""
    path, code = "/v1/passkeys/options", {"code": "7K2M-9QXD-4TVB-31HN"}

    async def guess(said: str, seen: str = "192.0.2.7") -> int:
        sent = [*OWN.items(), ("X-Forwarded-For", said), ("X-Forwarded-For", seen)]
        async with console.client.post(path, json=code, headers=sent) as response:
            return response.status

    assert 429 in [await guess(f"198.51.100.{n}") for n in range(30)]
    assert await guess("192.0.2.7", seen="192.0.2.8") == 403


async def test_what_decides_asks_for_the_passkey_again(console: Console):
    """More than five minutes after it was last shown, and after a passkey was registered; the refusal says so to programs. An answer
    of the same operator renews the session they have; a key needs none.
    """
    passkey, path = Authenticator(ORIGIN), "/v1/operators"
    code = (await console.add(roles=["administrator"]))["code"]
    await console.enrolled(passkey, code)
    status, refusal = await console.ask("POST", path, ANA | {"subject": "eva@centre.example"})
    assert (status, refusal["type"], refusal["step_up"]) == (403, "/problems/not-allowed", True)
    assert (await console.options())["allowCredentials"][0]["id"] == passkey.sign(await console.options())["id"]
    assert (await console.signed_in(passkey))[0] == 200
    assert (await console.ask("POST", path, ANA | {"subject": "eva@centre.example"}))[0] == 201
    console.parts.clock.pass_by(301)
    nowhere = "/v1/alerts/01M882R9G938BE2P8KXNZ55750"
    for method, what, body in (
        ("POST", f"{nowhere}/approve", {}), ("POST", f"{nowhere}/purge", {"reason": "retention"}),
        ("POST", "/v1/keys", {"subject": "eva@centre.example", "scopes": ["alerts:read"]}),
        ("DELETE", f"{path}/0123456789ab", None), ("PATCH", f"{path}/0123456789ab", {"disabled": True}),
    ):  # fmt: skip
        status, refusal = await console.ask(method, what, body)
        assert (status, refusal.get("step_up")) == (403, True), what
    assert (await console.ask("GET", path))[0] == 200
    assert (await console.administrate("POST", f"{nowhere}/approve", {}))[0] == 404


async def test_no_other_page_uses_a_session(console: Console, ana: Authenticator):
    """Neither with Fetch Metadata nor with Origin, nor for signing in as somebody; what tells nothing may read, and no more."""
    answer = ana.sign(await console.options())
    for told in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}):
        assert (await console.ask("POST", "/v1/sign-in", answer, **told))[0] == 403
    assert (await console.signed_in(ana))[0] == 200
    preview = {"reason": "Something is wrong"}
    for site in ("cross-site", "same-site", "none"):
        assert (await console.ask("POST", "/v1/stop", preview, **{"Sec-Fetch-Site": site}))[0] == 403
    host = f"{console.client.host}:{console.client.port}"
    async with console.client.post("/v1/stop", json=preview, headers={"Origin": "https://evil.example"}) as foreign:
        assert foreign.status == 403
    async with console.client.post("/v1/stop", json=preview) as mute:
        assert mute.status == 403
    async with console.client.get("/v1/me") as reading:
        assert reading.status == 200
    async with console.client.post("/v1/stop", json=preview, headers={"Origin": f"http://{host}"}) as own:
        assert own.status == 200
    for strange in ("null", "http://[", "http://a]:x", ""):
        async with console.client.post("/v1/sign-in/options", headers={"Origin": strange}) as foreign:
            assert foreign.status == 403


async def test_guessing_waits_longer_each_time(console: Console, ana: Authenticator):
    """Twenty codes are free, then twice as long is waited each time, and no longer than a minute; whoever knows one comes in then.
    Of an operator's own passkey five wrong answers are free.
    """
    code = (await console.add(subject="eva@centre.example"))["code"]

    async def guess(text: str) -> tuple[int, int]:
        body = {"code": text}
        async with console.client.post("/v1/passkeys/options", json=body, headers=OWN) as response:
            return response.status, int(response.headers.get("Retry-After", 0))

    console.parts.db.skew_ms = 0
    assert {(await guess("0000-0000-0000-0000"))[0] for _ in range(18)} == {403}
    waits = []
    for _ in range(9):
        status, wait = await guess("0000-0000-0000-0000")
        while status == 429:
            waits.append(wait)
            console.parts.db.skew_ms += wait * 1000
            status, wait = await guess("0000-0000-0000-0000")
    assert waits == sorted(waits)
    assert 30 < waits[-1] - waits[0] < 60
    console.parts.db.skew_ms += 60_000
    assert (await guess(code))[0] == 200
    thief = Authenticator(ORIGIN, id=ana.id, handle=ana.handle, count=100)
    assert [(await console.signed_in(thief))[0] for _ in range(6)] == [403, 403, 403, 403, 403, 429]
    assert (await console.signed_in(ana))[0] == 429


async def test_a_person_is_one_whatever_they_come_with(console: Console, ana: Authenticator):
    """An operator is named once, however it is spelled; their session and their key are the same person; whoever made the code of
    a passkey has a hand in it.
    """
    status, refusal = await console.administrate("POST", "/v1/operators", ANA | {"subject": "  ANA@centre.example"})
    assert (status, refusal["type"]) == (409, "/problems/precondition-failed")
    [one] = await console.parts.operators.list("default")
    token = await console.parts.sessions.begin(one, one.passkeys[0], proven=True)
    who = await console.parts.sessions.recognise(token)
    assert who is not None
    assert who.is_person("Ana@Centre.example")
    assert who.hands == {"ana@centre.example", ROOT}


async def test_nobody_locks_themselves_out(console: Console):
    """An administrator neither disables nor removes themselves, nor gives up that role; and a test key lets nobody in, and shuts nobody out."""
    made = await console.add(subject=ROOT, roles=["administrator"])
    path = f"/v1/operators/{made['id']}"
    for method, body in (("PATCH", {"disabled": True}), ("PATCH", {"roles": ["viewer"]}), ("DELETE", None)):
        assert (await console.administrate(method, path, body))[0] == 409
    _, console.key = await console.parts.access.create(
        org="default", subject="tester", scopes=frozenset({"admin"}), test=True
    )
    assert (await console.administrate("POST", "/v1/operators", ANA))[0] == 403
    for method, body in (("PATCH", {"disabled": True}), ("PATCH", {"name": "Another"}), ("DELETE", None)):
        assert (await console.administrate(method, path, body))[0] == 403


async def test_the_first_administrator_is_told_once(console: Console):
    """A service without operators makes one with a code; a second start does not."""
    code = await console.parts.operators.first("default")
    assert (await console.enrolled(Authenticator(ORIGIN), code))[1]["scopes"] == ["admin"]
    assert await console.parts.operators.first("default") is None


async def test_no_secret_of_an_operator_is_in_the_store(console: Console, ana: Authenticator, store: Connection):
    """Neither the secret of a session, nor a code, nor anybody's name, in any key or value."""
    made = await console.add(subject="eva@centre.example", name="Eva Solís")
    await console.signed_in(ana)
    [cookie] = console.client.session.cookie_jar
    dump = bytearray()
    for name in await store.execute("KEYS", "*"):
        dump += name + (await store.execute("DUMP", name))
    secrets = [cookie.value, made["code"], made["code"].replace("-", ""), ANA["subject"], "eva@centre", "Solís"]
    assert [one for one in secrets if one.encode() in dump] == []
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")


async def test_an_operator_is_stopped_as_a_key_is(console: Console, ana: Authenticator):
    """By their id: what they sent waits, and they send and lift nothing until two people resume."""
    [one] = await console.parts.operators.list("default")
    order = {"what": "key", "key": one.id, "reason": "Somebody has her phone"}
    status, told = await console.administrate("POST", "/v1/stop", order)
    assert (status, told["scope"], told["stopped"]) == (200, f"key:default:{one.id}", True)
    await console.signed_in(ana)
    status, refusal = await console.ask("POST", "/v1/resume", {"what": "key", "key": one.id})
    assert (status, refusal["type"]) == (409, "/problems/stop-active")


async def test_what_decides_is_shown_with_the_passkey_that_the_session_began_with(console: Console, ana: Authenticator):
    """With another of the same operator another session begins, whose hands are that one's: whoever made its code is among them."""
    await console.signed_in(ana)
    [cookie] = console.client.session.cookie_jar
    desk = cookie.value
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    _, bea = await console.parts.access.create(org="default", subject="bea@centre.example", scopes=frozenset({"admin"}))
    _, more = await console.ask("POST", f"/v1/operators/{one['id']}/code", {}, Authorization=f"Bearer {bea}")
    console.leave()
    beas = Authenticator(ORIGIN)
    assert (await console.enrolled(beas, more["code"]))[0] == 201
    console.parts.clock.pass_by(301)
    console.client.session.cookie_jar.update_cookies({cookie.key: desk}, console.client.make_url("/"))
    assert (await console.signed_in(beas))[0] == 200
    [fresh] = console.client.session.cookie_jar
    found = await console.parts.sessions.recognise(fresh.value)
    assert (fresh.value != desk, found.fresh, "bea@centre.example" in found.hands) == (True, True, True)
    assert await console.parts.sessions.recognise(desk) is None


async def test_a_key_with_bounds_lets_nobody_in_without(console: Console, ana: Authenticator):
    """An operator has no end, no rate and no ground of their own: so it neither adds nor invites one, nor gives roles. It may shut one out."""
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    path = f"/v1/operators/{one['id']}"
    for subject, terms in (("a", Terms(rate_per_min=100)), ("b", Terms(jurisdiction=Jurisdiction(regions=("41091",))))):
        _, token = await console.parts.access.create(
            org="default", subject=subject, scopes=frozenset({"admin"}), terms=terms
        )
        found = {}
        for method, where, body in (
            ("POST", "/v1/operators", ANA | {"subject": subject, "roles": ["administrator"]}),
            ("POST", f"{path}/code", {}),
            ("PATCH", path, {"roles": ["administrator"]}),
            ("PATCH", path, {"disabled": False}),
            ("PATCH", path, {"disabled": True}),
        ):
            status, _ = await console.ask(method, where, body, Authorization=f"Bearer {token}")
            found[method, where, str(body)] = status
        assert list(found.values()) == [403, 403, 403, 403, 200]


async def test_over_tls_the_cookie_goes_no_other_way(
    store: Connection, renderer: Renderer, aiohttp_client: Any, console: Console
):
    """Where the service is reached over https its session's cookie is for this host and https alone; its passkeys for that domain."""
    api = ApiSection(public_url="https://alerts.centre.example")
    parts = Container(settings=Settings(api=api), db=store, library=None, renderer=renderer, carriers=Carriers([]))
    made, passkey = await console.add(), Authenticator("https://alerts.centre.example")
    client = await aiohttp_client(api_of(parts))
    asked = await client.post("/v1/passkeys/options", json={"code": made["code"]}, headers=OWN)
    options = (await asked.json())["public_key"]
    assert options["rp"]["id"] == "alerts.centre.example"
    body = {"code": made["code"], "passkey": passkey.register(options)}
    answer = await client.post("/v1/passkeys", json=body, headers=OWN)
    assert answer.status == 201
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    assert name == "__Host-alertd_session"
    assert rest.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"]
    parts.audience.close()


async def test_an_operator_of_another_organisation_is_nobody_here(console: Console, ana: Authenticator):
    """They are neither shown, nor changed, nor removed."""
    other = Credential(key_id="x", org="other", subject="xenia", scopes=frozenset({"admin"}))
    [one] = await console.parts.operators.list("default")
    assert await console.parts.operators.list("other") == []
    with pytest.raises(Exception, match="not-found"):
        await console.parts.operators.remove(one.id, other)
    assert (await console.signed_in(ana))[0] == 200


async def test_whoever_is_let_out_is_listed_with_the_keys_in_their_hands(console: Console):
    """Their own, however their name is spelled, and what they made for others: those go on until they are revoked. Nobody else's."""
    made, access = await console.add(), console.parts.access

    async def key(subject: str, maker: Credential | None = None, org: str = "default") -> Credential:
        return (await access.create(org=org, subject=subject, scopes=frozenset({"alerts:write"}), maker=maker))[0]

    own = await key(ANA["subject"].upper())
    given = await key("bea@centre.example", own)
    await key("bea@centre.example")
    await key(ANA["subject"], org="other")
    expected = sorted([own.key_id, given.key_id])
    status, changed = await console.administrate("PATCH", f"/v1/operators/{made['id']}", {"disabled": True})
    assert (status, changed["keys"]) == (200, expected)
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    assert one["keys"] == expected
    assert await access.get(own.key_id) is not None


@pytest.mark.parametrize("ended", ["revoked", "stopped"])
async def test_a_code_ends_with_whatever_it_was_made_with(console: Console, ended: str):
    """Whoever had an administrator's key in the wrong hands comes in by nothing that they made with it."""
    access, stop_control = console.parts.access, console.parts.stop_control
    taken, _ = await access.create(org="default", subject="bea@centre.example", scopes=frozenset({"admin"}))
    made = await console.parts.operators.add(
        subject="eve@centre.example", name="Eve", roles=(Role.ADMINISTRATOR,), who=taken
    )
    assert (await console.ask("POST", "/v1/passkeys/options", {"code": made.code}))[0] == 200
    root = next(one for one in await access.list("default") if one.subject == ROOT)
    if ended == "revoked":
        await access.revoke(taken.key_id, root)
    else:
        await stop_control.stop(await stop_control.scope_of("key", taken.key_id, root), root, "in the wrong hands")
    status, told = await console.ask("POST", "/v1/passkeys/options", {"code": made.code})
    assert (status, told["type"]) == (403, "/problems/not-allowed")
    invited = await console.parts.operators.invite(made.operator.id, root, replace=False)
    assert (await console.enrolled(Authenticator(ORIGIN), invited.code))[0] == 201


@pytest.mark.parametrize("ended", ["disabled and enabled", "let in anew"])
async def test_a_code_of_an_operator_ends_with_what_they_came_in_with(console: Console, ended: str):
    """Whoever took an administrator's passkey comes in by no code that they made with it."""
    operators, clock = console.parts.operators, console.parts.clock
    root = (await console.parts.access.list("default"))[0]
    bea = await operators.add(subject="bea@centre.example", name="Bea", roles=(Role.ADMINISTRATOR,), who=root)
    assert (await console.enrolled(Authenticator(ORIGIN), bea.code))[0] == 201
    session = Credential(
        key_id=bea.operator.id, org="default", subject=bea.operator.subject, scopes=frozenset({"admin"})
    )
    clock.pass_by(1)
    made = await operators.add(subject="eve@centre.example", name="Eve", roles=(Role.VIEWER,), who=session)
    assert (await console.ask("POST", "/v1/passkeys/options", {"code": made.code}))[0] == 200
    clock.pass_by(1)
    if ended == "let in anew":
        await operators.invite(bea.operator.id, root, replace=True)
    for disabled in (True, False) if ended != "let in anew" else ():
        await operators.change(bea.operator.id, root, name=None, roles=None, disabled=disabled)
    assert (await console.ask("POST", "/v1/passkeys/options", {"code": made.code}))[0] == 403


@pytest.mark.parametrize("how", ["disabled", "removed", "viewer", "signed out"])
async def test_whoever_is_let_out_while_their_call_comes_does_nothing(console: Console, how: str):
    """Half of its body is there: what their session and roles were then decides nothing when the rest has come."""
    made = await console.add(subject="carl@centre.example", roles=["administrator"])
    passkey = Authenticator(ORIGIN)
    assert (await console.enrolled(passkey, made["code"]))[0] == 201
    assert (await console.signed_in(passkey))[0] == 200
    console.parts.clock.pass_by(61)  # so that it is written down when the call is let in
    (cookie,) = console.client.session.cookie_jar
    one, store = f"/v1/operators/{made['id']}", SessionStore(console.parts.db)
    way_out: dict[str, Callable[[], Awaitable[tuple[int, Any]]]] = {
        "disabled": lambda: console.administrate("PATCH", one, {"disabled": True}),
        "removed": lambda: console.administrate("DELETE", one),
        "viewer": lambda: console.administrate("PATCH", one, {"roles": ["viewer"]}),
        "signed out": lambda: console.ask("POST", "/v1/sign-out"),
    }

    async def seen() -> int:
        found = await store.get(digest_of(cookie.value))
        return found[0].seen if found else 0

    before = await seen()

    async def halves() -> AsyncIterator[bytes]:
        yield b'{"subject": "carl@centre.example", '
        await until(seen_since)
        assert (await way_out[how]())[0] < 300
        await asyncio.sleep(CHECK_VALID_S)
        yield b'"scopes": ["admin"]}'

    async def seen_since() -> bool:
        return await seen() > before

    headers = {**OWN, "Content-Type": "application/json"}
    async with console.client.post("/v1/keys", data=halves(), headers=headers) as answer:
        assert "step_up" not in await answer.text()
        assert answer.status == (403 if how == "viewer" else 401)
    assert [one.subject for one in await console.parts.access.list("default")] == [ROOT]
