"""Operators who sign in by an OpenID provider, over a real store and the whole API: let in by a code, known by issuer and subject alone."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from joserfc.jwk import ECKey, OKPKey, RSAKey

from alertd.config.sections import OidcSection
from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.service.carriers.carriers import Carriers
from alertd.service.container import Container
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from tests.clocks import Later
from tests.integration.acts import api_of
from tests.integration.consoles import ANA, OWN, Page
from tests.issuer import CLIENT, SECRET, Issuer, issuing, text
from tests.passkeys import Authenticator
from tests.sampling import sampled

ROOT = "root@centre.example"
#: Ana at the provider, where she has another name.
SUB = "4f2a-ana"
NOWHERE = "/v1/alerts/01M882R9G938BE2P8KXNZ55750"


class Console(Page):
    """With the provider that its browser is sent to."""

    def __init__(self, parts: Container, client: TestClient[Any, Any], key: str, issuer: Issuer) -> None:
        super().__init__(parts, client, key)
        self.issuer = issuer

    async def leave_for(self, **what: Any) -> str:
        """Where the browser is sent."""
        status, told = await self.ask("POST", "/v1/sign-in/provider", what)
        assert status == 200, told
        return str(told["url"])

    async def come_back(self, given: dict[str, str]) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/sign-in/provider/answer", given)

    async def sign_in(self, sub: str = SUB, **what: Any) -> tuple[int, Any]:
        """There and back."""
        return await self.come_back(self.issuer.let_in(await self.leave_for(**what), sub))

    async def me(self) -> int:
        return (await self.ask("GET", "/v1/me"))[0]

    async def reasons(self) -> list[tuple[str, str, str]]:
        """What the audit has of refusals, the newest first: act, person, reason."""
        entries = (await self.administrate("GET", "/v1/audit"))[1]["entries"]
        return [
            (one["act"], one["by"], one["facts"].get("reason", "")) for one in entries if one["outcome"] == "refused"
        ]

    @property
    def session(self) -> str:
        return next(one.value for one in self.client.session.cookie_jar if one.key == "alertd_session")

    def leave(self) -> None:
        """Another browser."""
        self.client.session.cookie_jar.clear()


@pytest.fixture
async def console(store: Connection, renderer: Renderer, aiohttp_client: Any) -> AsyncIterator[Console]:
    """A browser before an API without operators, with a provider, whose clock can be put forward."""
    async with issuing() as issuer:
        oidc = OidcSection(issuer=issuer.url, name="the Centre", client_id=CLIENT, client_secret=SECRET)
        parts = Container(
            settings=Settings(oidc=oidc),
            db=store,
            library=None,
            renderer=renderer,
            carriers=Carriers([]),
            clock=Later(),
        )
        _, key = await parts.access.create(org="default", subject=ROOT, scopes=frozenset({"admin"}))
        yield Console(parts, await aiohttp_client(api_of(parts)), key, issuer)
        parts.audience.close()


@pytest.fixture
async def ana(console: Console) -> dict[str, Any]:
    """Ana, let in with a code as whom the provider knows; she is not signed in."""
    made = await console.add()
    status, told = await console.sign_in(code=made["code"])
    assert status == 200, told
    console.leave()
    return made


async def test_a_code_says_once_who_somebody_is_at_the_provider(console: Console):
    """From then on they sign in there and are that operator, with the roles that alertd gives; the code is used up."""
    assert (await console.ask("GET", "/v1/sign-in"))[1] == {"rp_id": "localhost", "provider": "the Centre"}
    made = await console.add()
    console.issuer.claims = {"roles": ["administrator"], "email": ROOT, "scope": "admin"}
    status, told = await console.sign_in(code=made["code"].lower())
    assert (status, told["subject"], told["name"]) == (200, ANA["subject"], ANA["name"])
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    assert (one["identities"], one["passkeys"], one["invited_until"]) == (1, 0, None)
    assert (await console.ask("POST", "/v1/sign-in/provider", {"code": made["code"]}))[0] == 403
    console.leave()
    assert await console.me() == 401
    assert (await console.sign_in())[0] == 200
    me = (await console.ask("GET", "/v1/me"))[1]
    assert (me["subject"], me["signed_in"], me["key"]) == (ANA["subject"], True, made["id"])
    assert me["scopes"] == ["alerts:approve", "alerts:read", "alerts:write", "ledger:explain", "regions:read"]
    assert (await console.ask("POST", "/v1/sign-out"))[0] == 204
    assert await console.me() == 401


async def test_a_browser_is_sent_with_what_the_way_back_is_measured_by(console: Console):
    """A code flow with PKCE (S256), a state and a nonce, each new; for a fresh proof `prompt=login` and `max_age=0`."""
    first, second = [console.issuer.let_in(await console.leave_for(), SUB)["state"] for _ in range(2)]
    a, b = console.issuer.asked
    assert first != second
    assert all(a[name] != b[name] for name in ("nonce", "code_challenge"))
    assert all(len(a[name]) == 43 for name in ("state", "nonce", "code_challenge"))
    assert (a["response_type"], a["code_challenge_method"], a["scope"]) == ("code", "S256", "openid")
    assert (a["redirect_uri"], a["client_id"]) == ("http://localhost:8080/console", CLIENT)
    assert not {"prompt", "max_age"} & set(a)
    assert (await console.ask("POST", "/v1/sign-in/provider", {"prove": True}))[0] == 403


async def test_whoever_is_not_known_is_refused_in_words(console: Console, ana: dict[str, Any]):
    """Nobody becomes an operator by signing in, whatever address they have; the audit has that somebody tried."""
    console.issuer.claims = {"email": ANA["subject"], "email_verified": True}
    status, refusal = await console.sign_in("somebody-else")
    assert (status, refusal["type"]) == (403, "/problems/not-allowed")
    assert "one-time code" in refusal["detail"]
    assert await console.me() == 401
    assert (await console.reasons())[0] == ("session.prove", "", "unknown")
    assert len((await console.administrate("GET", "/v1/operators"))[1]["operators"]) == 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://evil.example"}, "iss"),
    "another audience": ({"aud": "somebody else"}, "aud"),
    "an audience more": ({"aud": [CLIENT, "somebody else"]}, "aud"),
    "no audience": ({"aud": None}, "aud"),
    "for another party": ({"azp": "somebody else"}, "azp"),
    "another nonce": ({"nonce": "x" * 43}, "nonce"),
    "no nonce": ({"nonce": None}, "nonce"),
    "no subject": ({"sub": None}, "sub"),
    "a number as subject": ({"sub": 7}, "sub"),
    "expired": ({"exp": int(time.time()) - 31}, "exp"),
    "never to expire": ({"exp": None}, "exp"),
    "from the future": ({"iat": int(time.time()) + 3600}, "iat"),
    "from before": ({"iat": int(time.time()) - 3600}, "iat"),
    "of no time": ({"iat": True}, "iat"),
}


#: One token a claim.
EACH_CLAIM = {reason: name for name, (_, reason) in reversed(WRONG.items())}.values()


@pytest.mark.parametrize("name", sampled(((name,) for name in WRONG), lambda name: name in EACH_CLAIM))
async def test_a_token_that_was_not_made_for_this_sign_in_is_refused(console: Console, ana: dict[str, Any], name: str):
    """Without a word of why to whoever brought it; the audit has that."""
    console.issuer.claims, reason = WRONG[name]
    status, refusal = await console.sign_in()
    assert (status, refusal["detail"]) == (403, "The answer of the sign-in provider is not accepted here. Begin again.")
    assert await console.me() == 401
    assert (await console.reasons())[0] == ("session.prove", "", reason)


async def test_a_token_that_the_provider_did_not_sign_is_refused(console: Console, ana: dict[str, Any]):
    """Not signed; keyed with the public key, or with the client's secret; by another key under its name, or under its own; by a
    signature that no rule takes; cut, changed, or no token at all.
    """
    issuer, refused = console.issuer, []
    other = RSAKey.generate_key(2048, {"kid": "second"})
    asked = {"sub": SUB, "nonce": "?"}
    public = issuer.key.as_pem(private=False)
    head = text(json.dumps({"alg": "none"}).encode())
    odd, deep = text(b'{"alg": ["RS256"]}'), text(b"[" * 20_000)
    whole = issuer.token_for(asked)
    changed = ".".join((whole.split(".")[0], text(b'{"sub": "root"}'), whole.split(".")[2]))
    for changes, reason in (
        ({"token": f"{head}.{whole.split('.')[1]}."}, "alg"),
        ({"algorithm": "HS256", "signs_with": public}, "alg"),
        ({"algorithm": "HS256", "signs_with": SECRET.encode()}, "alg"),
        ({"algorithm": "RS512"}, "alg"),
        ({"signs_with": other}, "signature"),
        ({"signs_with": other, "header": {"kid": "second"}}, "kid"),
        ({"signs_with": other, "header": {"kid": None, "jwk": other.as_dict(private=False)}}, "signature"),
        ({"header": {"crit": ["exp"], "exp": 1}}, "signature"),
        ({"token": f"{odd}.{whole.split('.')[1]}."}, "alg"), ({"token": f"{deep}.{deep}."}, "signature"), ({"token": changed}, "signature"), ({"token": "x"}, "signature"), ({"token": "a.b.c"}, "signature"), ({"token": "é.é.é"}, "signature"),
    ):  # fmt: skip
        tries = keys.tries(console.parts.db.codec.hashed("tries", "sign-in 127.0.0.1"))
        await console.parts.db.execute("DEL", tries)  # whoever tries so often waits
        before = {name: getattr(issuer, name) for name in changes}
        for one, value in changes.items():
            setattr(issuer, one, value)
        status, refusal = await console.sign_in()
        assert status == 403, changes
        assert refusal["detail"].startswith("The answer of the sign-in provider"), refusal
        refused.append(reason)
        for one, value in before.items():
            setattr(issuer, one, value)
    assert await console.me() == 401
    assert [reason for _, _, reason in (await console.reasons())] == refused[::-1]
    assert (await console.sign_in())[0] == 200


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ES256", ECKey.generate_key("P-256", {"kid": "ec"})),
        ("EdDSA", OKPKey.generate_key("Ed25519", {"kid": "ed"})),
        ("RS256", RSAKey.generate_key(2048)),
    ],
)
async def test_a_provider_may_sign_in_three_ways(console: Console, ana: dict[str, Any], algorithm: str, key: Any):
    """With RS256, ES256 or EdDSA; a key without a name is found where there is one that fits."""
    console.issuer.key, console.issuer.algorithm = key, algorithm
    console.issuer.header = {} if key.kid else {"kid": None}
    console.parts.clock.pass_by(3601)
    console.issuer.claims = {"iat": int(time.time()) + 3601, "exp": int(time.time()) + 4200}
    assert (await console.sign_in())[0] == 200


async def test_the_provider_s_keys_are_kept_and_asked_for_again_once(console: Console, ana: dict[str, Any]):
    """What it says of itself is fetched once; a key that is not known makes its keys be fetched once more, and no oftener."""
    issuer = console.issuer
    assert (await console.sign_in())[0] == 200
    assert (issuer.fetched.count("/keys"), issuer.fetched.count("/.well-known/openid-configuration")) == (1, 1)
    issuer.key = RSAKey.generate_key(2048, {"kid": "rolled"})
    assert (await console.sign_in())[0] == 200
    assert issuer.fetched.count("/keys") == 2
    issuer.header = {"kid": "nobody's"}
    assert (await console.sign_in())[0] == 403
    assert issuer.fetched.count("/keys") == 3
    assert issuer.fetched.count("/.well-known/openid-configuration") == 1


async def test_a_way_back_is_gone_once_in_time_and_in_its_own_browser(console: Console, ana: dict[str, Any]):
    """Neither a state that was used, nor one of ten minutes ago, nor one that nobody was sent with, nor somebody else's in this browser,
    nor an answer of another issuer, nor one without a code.
    """
    given = console.issuer.let_in(await console.leave_for(), SUB)
    assert (await console.come_back(given))[0] == 200
    assert (await console.ask("POST", "/v1/sign-out"))[0] == 204
    assert (await console.come_back(given))[0] == 403
    late = console.issuer.let_in(await console.leave_for(), SUB)
    console.parts.clock.pass_by(600)
    assert (await console.come_back(late))[0] == 403
    assert (await console.come_back(given | {"state": secrets.token_urlsafe(32)}))[0] == 403
    stolen = console.issuer.let_in(await console.leave_for(), SUB)
    console.leave()
    assert (await console.come_back(stolen))[0] == 403
    await console.leave_for()
    theirs = console.issuer.let_in(await console.leave_for(), SUB)
    console.leave()
    await console.leave_for()
    assert (await console.come_back(theirs))[0] == 403
    mixed = console.issuer.let_in(await console.leave_for(), SUB)
    assert (await console.come_back(mixed | {"iss": "https://evil.example"}))[0] == 403
    nameless = console.issuer.let_in(await console.leave_for(), SUB)
    del nameless["iss"]
    assert (await console.come_back(nameless))[0] == 403
    denied = console.issuer.let_in(await console.leave_for(), SUB)
    assert (await console.come_back({"state": denied["state"], "iss": denied["iss"]}))[0] == 403
    assert await console.me() == 401
    assert [reason for _, _, reason in await console.reasons()] == [
        "provider", "iss", "iss", "browser", "browser", "state", "state", "state",
    ]  # fmt: skip


async def test_a_code_of_another_s_sign_in_is_worth_nothing(console: Console, ana: dict[str, Any]):
    """A code that was let in elsewhere does not fit the verifier of this browser; used again it is nothing."""
    theirs = console.issuer.let_in(await console.leave_for(), "somebody-else")
    mine = console.issuer.let_in(await console.leave_for(), SUB)
    assert (await console.come_back(mine | {"code": theirs["code"]}))[0] == 403
    again = console.issuer.let_in(await console.leave_for(), SUB)
    assert (await console.come_back(again | {"code": theirs["code"]}))[0] == 403
    assert [reason for _, _, reason in await console.reasons()] == ["code", "code"]


async def test_what_decides_asks_the_provider_anew(console: Console):
    """Five minutes after it was last asked, and after a code was used: the provider must ask who they are, then, and tell when it did. Who
    was signed in there already has not shown it; nor has another person.
    """
    issuer, made = console.issuer, await console.add()
    other = await console.add(subject="eva@centre.example")
    await console.sign_in("eva", code=other["code"])
    console.leave()
    await console.sign_in(code=made["code"])
    approve = ("POST", f"{NOWHERE}/approve", {"people": 1})
    status, refusal = await console.ask(*approve)
    assert (status, refusal["step_up"]) == (403, True)
    given = issuer.let_in(await console.leave_for(prove=True), SUB)
    assert (issuer.asked[-1]["prompt"], issuer.asked[-1]["max_age"]) == ("login", "300")
    for stale in (90, None, "now", True, -3600):
        issuer.claims = {
            "auth_time": stale if not isinstance(stale, int) or stale is True else int(time.time()) - stale
        }
        assert (await console.sign_in(prove=True))[0] == 403
        assert (await console.ask(*approve))[0] == 403
        assert (await console.reasons())[0] == ("session.prove", ANA["subject"], "auth_time")
    issuer.claims = {}
    assert (await console.sign_in("eva", prove=True))[0] == 403
    assert (await console.reasons())[0][2] == "person"
    assert (await console.ask(*approve))[0] == 403
    assert (await console.come_back(given))[0] == 200
    assert (await console.ask(*approve))[0] == 404
    console.parts.clock.pass_by(301)
    assert (await console.ask(*approve))[0] == 403
    console.leave()
    console.parts.clock.ahead_ms = 0
    issuer.login_s = 7200
    assert (await console.sign_in())[0] == 200
    assert (await console.ask(*approve))[0] == 403


async def test_a_provider_that_did_not_ask_again_is_said_to_be_no_use_and_a_passkey_is_named(
    console: Console, ana: dict[str, Any]
):
    """One round shows that another would be in vain. Who has a passkey is told to use it, and who has none how to get one."""
    console.issuer.login_s = 200  # younger than max_age, and older than the round
    await console.sign_in()
    status, refusal = await console.sign_in(prove=True)
    assert (status, refusal["has_passkey"]) == (403, False)
    assert "did not ask you to sign in again" in refusal["detail"]
    assert "ask an administrator for a one-time code" in refusal["detail"]
    code = (await console.administrate("POST", f"/v1/operators/{ana['id']}/code"))[1]["code"]
    passkey = Authenticator("http://localhost:8080")
    options = (await console.ask("POST", "/v1/passkeys/options", {"code": code}))[1]["public_key"]
    assert (await console.ask("POST", "/v1/passkeys", {"code": code, "passkey": passkey.register(options)}))[0] == 201
    status, refusal = await console.sign_in(prove=True)
    assert (status, refusal["has_passkey"]) == (403, True)
    assert "Use your passkey instead" in refusal["detail"]
    assert (await console.reasons())[0] == ("session.prove", ANA["subject"], "auth_time")


async def test_a_late_proof_does_not_undo_a_sign_out(console: Console, ana: dict[str, Any]):
    """Nor the end that an administrator put to their sessions: it is refused, and none begins."""
    assert (await console.sign_in())[0] == 200
    late = console.issuer.let_in(await console.leave_for(prove=True), SUB)
    assert (await console.ask("POST", "/v1/sign-out"))[0] == 204
    status, refusal = await console.come_back(late)
    assert (status, refusal["type"], "has ended" in refusal["detail"]) == (403, "/problems/not-allowed", True)
    assert (await console.reasons())[0] == ("session.prove", ANA["subject"], "session")
    assert await console.me() == 401
    assert (await console.sign_in())[0] == 200
    late = console.issuer.let_in(await console.leave_for(prove=True), SUB)
    for disabled in (True, False):
        told = await console.administrate("PATCH", f"/v1/operators/{ana['id']}", {"disabled": disabled})
        assert told[0] == 200
    console.parts.clock.pass_by(1)
    assert (await console.come_back(late))[0] == 403
    assert await console.me() == 401


async def test_a_late_proof_takes_nobody_s_session_over(console: Console, ana: dict[str, Any]):
    """Who signed in meanwhile stays who is signed in, even if that is the same person: what was asked for was their other session's."""
    bea = await console.add(subject="bea@centre.example", name="Bea")
    assert (await console.sign_in("bea", code=bea["code"]))[0] == 200
    console.leave()
    for sub, subject in (("bea", "bea@centre.example"), (SUB, ANA["subject"])):
        assert (await console.sign_in())[0] == 200
        late = console.issuer.let_in(await console.leave_for(prove=True), SUB)
        assert (await console.ask("POST", "/v1/sign-out"))[0] == 204
        console.issuer.login_s = 7200
        assert (await console.sign_in(sub))[0] == 200
        token, console.issuer.login_s = console.session, 0
        assert (await console.come_back(late))[0] == 403
        assert (await console.ask("GET", "/v1/me"))[1]["subject"] == subject
        assert console.session == token
        assert (await console.ask("POST", f"{NOWHERE}/approve", {"people": 1}))[0] == 403
        assert (await console.ask("POST", "/v1/sign-out"))[0] == 204


async def test_a_proof_by_another_way_in_replaces_the_session_that_asked_once(console: Console, ana: dict[str, Any]):
    """Who came by a passkey may show it by the provider: the session is another then, so what was asked for by the first is over."""
    code = (await console.administrate("POST", f"/v1/operators/{ana['id']}/code"))[1]["code"]
    passkey = Authenticator("http://localhost:8080")
    options = (await console.ask("POST", "/v1/passkeys/options", {"code": code}))[1]["public_key"]
    assert (await console.ask("POST", "/v1/passkeys", {"code": code, "passkey": passkey.register(options)}))[0] == 201
    before = console.session
    first, second = [console.issuer.let_in(await console.leave_for(prove=True), SUB) for _ in range(2)]
    assert (await console.come_back(first))[0] == 200
    after = console.session
    assert after != before
    assert await console.parts.sessions.recognise(before) is None
    assert (await console.ask("POST", f"{NOWHERE}/approve", {"people": 1}))[0] == 404
    assert (await console.come_back(second))[0] == 403
    assert console.session == after
    assert await console.me() == 200


async def test_a_stronger_proof_is_asked_for_where_the_settings_name_one(
    store: Connection, renderer: Renderer, aiohttp_client: Any, console: Console, ana: dict[str, Any]
):
    """With `acr` what decides needs one of its values besides."""
    oidc = OidcSection(issuer=console.issuer.url, client_id=CLIENT, client_secret=SECRET, acr=["mfa"])
    parts = Container(settings=Settings(oidc=oidc), db=store, library=None, renderer=renderer, carriers=Carriers([]))
    strict = Console(parts, await aiohttp_client(api_of(parts)), console.key, console.issuer)
    assert (await strict.sign_in())[0] == 200
    assert (await strict.sign_in(prove=True))[0] == 403
    assert (await strict.reasons())[0] == ("session.prove", ANA["subject"], "acr")
    assert console.issuer.asked[-1]["acr_values"] == "mfa"
    console.issuer.claims = {"acr": "mfa"}
    assert (await strict.sign_in(prove=True))[0] == 200
    assert (await strict.ask("POST", f"{NOWHERE}/approve", {"people": 1}))[0] == 404
    parts.audience.close()


async def test_a_disabled_operator_is_out_at_once_and_stays_out(console: Console, ana: dict[str, Any]):
    """Their session ends and the provider lets them in no more; a code that replaces ends the identity, and so does removing them."""
    path = f"/v1/operators/{ana['id']}"
    assert (await console.sign_in())[0] == 200
    assert (await console.administrate("PATCH", path, {"disabled": True}))[0] == 200
    assert await console.me() == 401
    status, refusal = await console.sign_in()
    assert (status, "disabled" in refusal["detail"]) == (403, True)
    assert (await console.reasons())[0] == ("session.prove", ANA["subject"], "disabled")
    assert (await console.administrate("PATCH", path, {"disabled": False}))[0] == 200
    console.parts.clock.pass_by(1)
    assert (await console.sign_in())[0] == 200
    made = (await console.administrate("POST", f"{path}/code", {"replace": True}))[1]
    assert await console.me() == 401
    assert (await console.sign_in())[0] == 403
    assert await console.parts.db.execute("HLEN", keys.IDENTITIES) == 0
    console.parts.clock.pass_by(1)
    assert (await console.sign_in(code=made["code"]))[0] == 200
    assert (await console.administrate("DELETE", path))[0] == 204
    assert await console.me() == 401
    assert (await console.sign_in())[0] == 403


async def test_whoever_comes_again_after_they_were_removed_begins_anew(console: Console, ana: dict[str, Any]):
    """The same person has the same id and may have the same identity: the sessions of before are over all the same."""
    assert (await console.sign_in())[0] == 200
    before = console.session
    assert (await console.administrate("DELETE", f"/v1/operators/{ana['id']}"))[0] == 204
    console.parts.clock.pass_by(1)
    again = await console.add()
    console.leave()
    assert (await console.sign_in(code=again["code"]))[0] == 200
    assert again["id"] == ana["id"]
    assert await console.me() == 200
    assert await console.parts.sessions.recognise(before) is None


async def test_an_identity_is_one_operator_s_and_whoever_let_it_in_has_a_hand_in_it(
    console: Console, ana: dict[str, Any]
):
    """Another's code does not bind it again; whoever made the code is no second person beside it."""
    other = await console.add(subject="eva@centre.example")
    status, _ = await console.sign_in(code=other["code"])
    assert status == 403
    assert (await console.reasons())[0] == ("identity.bind", "eva@centre.example", "bound")
    assert (await console.sign_in("eva", code=other["code"]))[0] == 200
    who = await console.parts.sessions.recognise(console.session)
    assert who is not None
    assert who.hands == {"eva@centre.example", ROOT}


async def test_who_has_both_ways_in_is_one_person(console: Console, ana: dict[str, Any]):
    """Where the provider tells no `auth_time` they decide with a passkey, in the session that it begins in place of the provider's."""
    code = (await console.administrate("POST", f"/v1/operators/{ana['id']}/code"))[1]["code"]
    passkey = Authenticator("http://localhost:8080")
    options = (await console.ask("POST", "/v1/passkeys/options", {"code": code}))[1]["public_key"]
    assert (await console.ask("POST", "/v1/passkeys", {"code": code, "passkey": passkey.register(options)}))[0] == 201
    console.leave()
    console.issuer.claims = {"auth_time": None}
    assert (await console.sign_in())[0] == 200
    token = console.session
    assert (await console.sign_in(prove=True))[0] == 403
    options = (await console.ask("POST", "/v1/sign-in/options"))[1]["public_key"]
    assert (await console.ask("POST", "/v1/sign-in", passkey.sign(options)))[0] == 200
    assert console.session != token
    assert await console.parts.sessions.recognise(token) is None
    assert (await console.ask("POST", f"{NOWHERE}/approve", {"people": 1}))[0] == 404
    [one] = (await console.administrate("GET", "/v1/operators"))[1]["operators"]
    assert (one["identities"], one["passkeys"]) == (1, 1)


async def test_a_code_that_was_replaced_meanwhile_binds_nobody(console: Console):
    """What counts is whose code it is when they come back."""
    made = await console.add()
    given = console.issuer.let_in(await console.leave_for(code=made["code"]), SUB)
    fresh = (await console.administrate("POST", f"/v1/operators/{made['id']}/code"))[1]
    assert (await console.come_back(given))[0] == 403
    assert (await console.reasons())[0] == ("identity.bind", ANA["subject"], "code")
    assert (await console.sign_in(code=fresh["code"]))[0] == 200


async def test_a_provider_that_is_down_or_another_s_is_said_to_be(console: Console, ana: dict[str, Any]):
    """503 with Retry-After, whatever it answers, and passkeys go on; a document of another issuer is not believed."""
    issuer = console.issuer
    for name, value in (("issuer", f"{issuer.url}/"), ("token_endpoint", "http://10.0.0.1/token"), ("jwks_uri", None)):
        console.parts.clock.pass_by(3601)
        issuer.document = {name: value}
        status, refusal = await console.ask("POST", "/v1/sign-in/provider")
        assert (status, refusal["type"]) == (503, "/problems/provider-unavailable")
    issuer.document, issuer.fails = {}, 500
    assert (await console.ask("POST", "/v1/sign-in/provider"))[0] == 503
    assert (await console.ask("POST", "/v1/sign-in/options"))[0] == 200
    issuer.fails = 0
    given = issuer.let_in(await console.leave_for(), SUB)
    issuer.fails = 502
    assert (await console.come_back(given))[0] == 503
    issuer.document = {"token_endpoint": "https://127.0.0.1/token"}
    issuer.fails = 0
    console.parts.clock.pass_by(3601)
    given = issuer.let_in(await console.leave_for(), SUB)
    assert (await console.come_back(given))[0] == 503


async def test_guessing_waits_and_no_other_page_signs_in(console: Console, ana: dict[str, Any]):
    """Twenty answers are free; another site neither sends a browser away nor hands in what it came back with."""
    given = console.issuer.let_in(await console.leave_for(), SUB)
    for told in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}):
        assert (await console.ask("POST", "/v1/sign-in/provider", {}, **told))[0] == 403
        assert (await console.ask("POST", "/v1/sign-in/provider/answer", given, **told))[0] == 403
    guess = {"state": "x" * 43, "code": "y"}
    assert {(await console.come_back(guess))[0] for _ in range(19)} == {403}
    assert {(await console.come_back(guess))[0] for _ in range(2)} == {429}


async def test_no_secret_of_a_sign_in_is_in_the_store(console: Console, ana: dict[str, Any], store: Connection):
    """Neither who somebody is at the provider, nor state, nonce or verifier of who is away, nor the browser's secret."""
    await console.sign_in()
    console.issuer.let_in(await console.leave_for(), SUB)
    asked = console.issuer.asked[-1]
    dump = bytearray()
    for name in await store.execute("KEYS", "*"):
        dump += name + (await store.execute("DUMP", name))
    jar = {one.key: one for one in console.client.session.cookie_jar}
    secret = [SUB, asked["state"], asked["nonce"], "verifier", *(one.value for one in jar.values())]
    assert [one for one in secret if one.encode() in dump] == []
    sent = jar["alertd_sent"]
    assert (sent["httponly"], sent["samesite"], sent["path"], sent["max-age"]) == (True, "Strict", "/", "600")


async def test_without_a_provider_there_is_none(store: Connection, renderer: Renderer, aiohttp_client: Any):
    """The console is told so, and nobody is sent anywhere."""
    parts = Container(settings=Settings(), db=store, library=None, renderer=renderer, carriers=Carriers([]))
    client = await aiohttp_client(api_of(parts))
    assert (await (await client.get("/v1/sign-in")).json())["provider"] is None
    assert (await client.post("/v1/sign-in/provider", headers=OWN)).status == 404
    parts.audience.close()
