"""What a stranger's URL names is fetched from the public internet alone, whatever names, redirects and servers do."""

from __future__ import annotations

import asyncio
import gc
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels.fetching import MOST_REDIRECTS, NAMES_AT_ONCE, Fetcher, FetchError, Names, WithheldError, is_public

HOST = "photos.example"
#: What stands for the world here; the rest of this machine does not.
WORLD, HOME = "127.0.0.1", "127.0.0.2"
MOST = 100_000


@dataclass
class World:
    """A server over TLS, a resolver that answers as it is told, and a fetcher for which 127.0.0.1 alone is public."""

    server: TestServer
    fetcher: Fetcher = field(init=False)
    names: dict[str, list[list[str]]] = field(default_factory=dict)  # each answer once, the last for ever
    asked: list[str] = field(default_factory=list)  # names that were looked up
    seen: list[web.BaseRequest] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)  # our addresses at which they came in

    def url(self, path: str = "/photo", host: str = HOST) -> str:
        return f"https://{host}:{self.server.port}{path}"

    async def resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def answer(request: web.Request) -> web.StreamResponse:
    """What the path says."""
    kind, _, detail = request.path.strip("/").partition("/")
    if kind in {"endless", "mute", "silent", "unfinished"}:
        return await stream(request, kind)
    answers = {
        "photo": web.Response(body=b"a picture"),
        "large": web.Response(body=bytes(MOST + 1)),
        "packed": web.Response(body=b"\x1f\x8b small", headers={"Content-Encoding": "gzip"}),
        "to": web.Response(status=307, headers={"Location": request.query.get("where", "")}),
    }
    if kind == "hop" and detail != "0":
        return web.Response(status=302, headers={"Location": f"/hop/{int(detail) - 1}"})
    return answers.get(kind) or web.Response(status=int(detail) or 200, body=b"at last")


async def stream(request: web.Request, kind: str) -> web.StreamResponse:
    """No answer; or a body without an end, or without a beginning, or whose end does not come."""
    if kind == "mute":
        await asyncio.Event().wait()
    response = web.StreamResponse()
    await response.prepare(request)
    if kind == "unfinished":
        await response.write(b"a be")
    while kind == "endless":
        await response.write(bytes(65_536))
    await asyncio.Event().wait()
    return response


Make = Callable[..., World]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes worlds with a fetcher of these settings."""
    authority = trustme.CA()
    trust, own = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(trust)
    authority.issue_cert(HOST).configure_cert(own)
    worlds: list[World] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        worlds[-1].reached.append(request.get_extra_info("sockname")[0])
        worlds[-1].seen.append(request)
        return await answer(request)  # type: ignore[arg-type]

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    server = TestServer(app, host="0.0.0.0", scheme="https")
    await server.start_server(ssl=own, shutdown_timeout=0.1)

    def world(**settings) -> World:
        allowed = {"is_allowed": WORLD.__eq__, "ports": frozenset({server.port}), "trust": trust}
        made = World(server, {HOST: [[WORLD]]})
        made.fetcher = Fetcher(**{"resolve": made.resolve, **allowed, **settings})
        worlds.append(made)
        return made

    yield world
    await server.close()


async def test_what_is_public_is_fetched_by_its_name(make: Make):
    """The server is asked for the host of the URL, by its certificate's name, for plain bytes, and with nothing of ours."""
    world = make()
    assert await world.fetcher.fetch(world.url("/photo?size=1"), MOST) == b"a picture"
    [request] = world.seen
    assert request.headers["Host"] == f"{HOST}:{world.server.port}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.path_qs == "/photo?size=1"
    assert not {"Cookie", "Authorization", "Referer"} & set(request.headers)


async def test_whether_it_may_post_is_asked_once_there_is_a_connection(make: Make):
    """However long that took: where the answer is no, nothing is written, and that is said apart from what failed."""
    world, asked = make(), []

    async def may_post() -> bool:
        asked.append(len(world.asked))
        return len(asked) > 1

    with pytest.raises(WithheldError):
        await world.fetcher.hand_over(world.url("/photo"), b"once", {}, MOST, may_post)
    assert (asked, world.seen) == ([1], [])
    answer = await world.fetcher.hand_over(world.url("/photo"), b"again", {}, MOST, may_post)
    assert (answer.status, len(world.seen)) == (200, 1)


async def test_where_that_cannot_be_known_nothing_is_written(make: Make):
    """And the connection is closed at once."""
    world = make()

    async def may_post() -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        await world.fetcher.hand_over(world.url("/photo"), b"once", {}, MOST, may_post)
    gc.collect()
    assert world.seen == []


async def test_a_name_whose_servers_are_silent_keeps_no_other_waiting(make: Make):
    """It has one thread, however many ask for it, and none of those that other work is done in."""
    asked, silent, looked_up = threading.Event(), threading.Event(), []

    def look_up(host: str) -> list[str]:
        looked_up.append(host)
        if host != HOST:
            asked.set()
            silent.wait(30)
        return [WORLD]

    world = make(resolve=Names(look_up).resolve, timeout_s=10)
    urls = [world.url("/photo", "silent.example")] * (NAMES_AT_ONCE + 10)
    waiting = [asyncio.create_task(world.fetcher.fetch(url, MOST)) for url in urls]
    try:
        assert await world.fetcher.fetch(world.url(), MOST) == b"a picture"
        assert await asyncio.to_thread(asked.wait, 10)
        assert sorted(looked_up) == [HOST, "silent.example"]
    finally:
        silent.set()
        await asyncio.gather(*waiting, return_exceptions=True)


NOT_PUBLIC = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255
192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 fe80::1 fe80::1%1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2001::1 2002:7f00:1:: 3fff::1 100::1 5f00::1 fec0::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe ::ffff:0:127.0.0.1
64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::192.168.0.1 64:ff9b:1::1
"""
PUBLIC = (
    "8.8.8.8 93.184.216.34 172.32.0.1 100.128.0.1 2606:4700::1111 2a00:1450:4003::5 ::ffff:8.8.8.8 64:ff9b::8.8.8.8"
)


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
async def test_no_name_leads_inside(make: Make, address: str):
    """Private, shared, link-local, loopback, multicast and metadata addresses are no public internet, however they are written."""
    assert not is_public(address)
    world = make(is_allowed=is_public)
    world.names[HOST] = [[address]]
    with pytest.raises(FetchError, match="public internet"):
        await world.fetcher.fetch(world.url(), MOST)
    assert world.asked == [HOST]
    assert not world.seen


@pytest.mark.parametrize("address", PUBLIC.split())
def test_the_rest_of_the_world_is_public(address: str):
    """The ranges end where they end, and an IPv4 address in IPv6 is judged as what it is."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_no_spelling_of_this_machine_is_public(host: str):
    """As the system's own resolver reads it."""
    with pytest.raises(FetchError):
        await Fetcher().fetch(f"https://{host}/", MOST)


async def test_one_address_inside_is_enough_to_refuse(make: Make):
    """A name with a public and a private address is not asked at the public one either."""
    world = make()
    world.names[HOST] = [[WORLD, HOME]]
    with pytest.raises(FetchError):
        await world.fetcher.fetch(world.url(), MOST)
    assert not world.seen


async def test_a_name_is_looked_up_once_for_judge_and_connection(make: Make):
    """DNS that answers the second question with an address inside is not asked a second time."""
    world = make()
    world.names[HOST] = [[WORLD], [HOME]]
    assert await world.fetcher.fetch(world.url(), MOST) == b"a picture"
    assert world.asked == [HOST]
    assert world.reached == [WORLD]


@pytest.mark.parametrize(
    "url",
    ["http://photos.example/", "ftp://photos.example/", "file:///etc/passwd", "//photos.example/", "photos.example", "",
     "https://user@photos.example/", "https://user:secret@photos.example/", "https://photos.example:22/",
     "https://photos.example\\@127.0.0.1/", "https://photos%2eexample/", "https://[::1/", "https://photos.example:x/",
     "https://ｐhotos.example/", "https://"],
)  # fmt: skip
async def test_what_is_no_plain_https_is_not_looked_up(make: Make, url: str):
    """No other scheme, no user, no port, nothing that two readers could understand differently."""
    world = make(ports=frozenset({443}))
    with pytest.raises(FetchError, match=r"https|URL"):
        await world.fetcher.fetch(url, MOST)
    assert not world.asked


@pytest.mark.parametrize(("hops", "arrives"), [(MOST_REDIRECTS, True), (MOST_REDIRECTS + 1, False)])
async def test_redirects_are_followed_a_little(make: Make, hops: int, arrives: bool):
    """Three at most."""
    world = make()
    if arrives:
        assert await world.fetcher.fetch(world.url(f"/hop/{hops}"), MOST) == b"at last"
    else:
        with pytest.raises(FetchError):
            await world.fetcher.fetch(world.url(f"/hop/{hops}"), MOST)
    assert len(world.seen) == MOST_REDIRECTS + 1


@pytest.mark.parametrize("where", ["https://inside.example:{port}/photo", f"https://{HOME}:{{port}}/photo", "http://photos.example/", "https://user@photos.example/", "", "https://photos.example:22/"])  # fmt: skip
async def test_a_redirect_is_judged_like_the_first_address(make: Make, where: str):
    """A public server cannot send us inside, to another scheme or to another port."""
    world = make()
    world.names |= {"inside.example": [[HOME]], HOME: [[HOME]]}
    target = where.format(port=world.server.port)
    with pytest.raises(FetchError):
        await world.fetcher.fetch(world.url(f"/to?where={target}"), MOST)
    assert all(request.path == "/to" for request in world.seen)


@pytest.mark.parametrize("path", ["/large", "/endless"])
async def test_a_body_is_read_no_further_than_allowed(make: Make, path: str):
    """Whether its length is told or not."""
    world = make()
    with pytest.raises(FetchError):
        await world.fetcher.fetch(world.url(path), MOST)


async def test_nothing_is_unpacked(make: Make):
    """A compressed answer stays as small as it came."""
    world = make()
    assert await world.fetcher.fetch(world.url("/packed"), MOST) == b"\x1f\x8b small"


async def test_a_silent_server_costs_no_more_than_the_time_limit(make: Make):
    """The limit is for everything, from the first redirect to the last byte."""
    world, began = make(timeout_s=0.3), asyncio.get_running_loop().time()
    with pytest.raises(FetchError):
        await world.fetcher.fetch(world.url("/silent"), MOST)
    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize("code", [201, 204, 304, 403, 404, 500])
async def test_only_200_is_an_answer(make: Make, code: int):
    """An error page is no picture."""
    world = make()
    with pytest.raises(FetchError):
        await world.fetcher.fetch(world.url(f"/status/{code}"), MOST)


async def test_a_certificate_must_be_of_the_name_and_trusted(make: Make):
    """The world's TLS counts: another name's certificate, or one nobody vouches for, is no answer."""
    world = make()
    world.names["other.example"] = [[WORLD]]
    with pytest.raises(FetchError):
        await world.fetcher.fetch(world.url(host="other.example"), MOST)
    with pytest.raises(FetchError):
        await make(trust=None).fetcher.fetch(world.url(), MOST)


async def test_a_refusal_does_not_tell_what_is_inside(make: Make):
    """Nothing there, something inside and something that answers with an error are told in the same words."""
    world = make()
    world.names["inside.example"] = [[HOME]]
    told = set()
    for url in (world.url(host="nowhere.example"), world.url(host="inside.example"), world.url("/status/404")):
        with pytest.raises(FetchError) as refusal:
            await world.fetcher.fetch(url, MOST)
        told.add(str(refusal.value))
    assert len(told) == 1


async def test_the_operator_of_the_service_learns_what_failed(make: Make):
    """The refusal that a stranger reads says nothing of it; its cause, which no answer of the API has, does."""
    world, strict = make(timeout_s=0.5), make(trust=None)
    world.names["inside.example"], world.names["other.example"] = [[HOME]], [[WORLD]]
    causes = {
        world.url(host="nowhere.example"): "DNS has no address for nowhere.example",
        world.url(host="inside.example"): "inside.example is not on the public internet",
        world.url(host="other.example"): "TLS: its certificate is refused: Hostname mismatch",
        world.url("/status/404"): "it answers 404",
        world.url("/large"): f"it answers with more than {MOST:,} bytes",
        world.url("/mute"): "no answer within 0.5 s",
        world.url("/hop/9"): f"it redirects more than {MOST_REDIRECTS} times",
    }
    for url, cause in causes.items():
        with pytest.raises(FetchError) as refusal:
            await world.fetcher.fetch(url, MOST)
        assert refusal.value.cause.startswith(cause)
        assert cause not in str(refusal.value)
    with pytest.raises(FetchError) as refusal:
        await strict.fetcher.fetch(strict.url(), MOST)
    assert refusal.value.cause.startswith("TLS: its certificate is refused: ")


async def test_what_is_posted_goes_to_its_url_alone(make: Make):
    """With its headers, by the certificate's name; a redirect is the answer and is not followed, an endless answer is not read."""
    world = make()
    sent = {"Content-Type": "application/json", "webhook-id": "evt_1"}
    assert (await world.fetcher.hand_over(world.url("/status/204"), b"{}", sent, MOST)).status == 204
    assert (
        await world.fetcher.hand_over(world.url("/to?where=https://photos.example/photo"), b"{}", sent, MOST)
    ).status == 307
    assert (await world.fetcher.hand_over(world.url("/endless"), b"{}", sent, MOST)).status == 200
    assert [request.method for request in world.seen] == ["POST"] * 3
    assert world.seen[0].headers["webhook-id"] == "evt_1"
    assert world.seen[0].headers["Host"] == f"{HOST}:{world.server.port}"


async def test_what_is_asked_by_a_post_is_answered_whatever_its_status(make: Make):
    """The status and the whole body, of this URL alone: a redirect is not followed. What is too much, or late, or inside is no answer."""
    world = make(timeout_s=0.5)
    assert await world.fetcher.exchange(world.url("/photo"), b"a=b", {"Accept": "x/y"}, MOST) == (200, b"a picture")
    assert (await world.fetcher.exchange(world.url("/status/400"), b"", {}, MOST))[0] == 400
    assert (await world.fetcher.exchange(world.url("/to?where=https://photos.example/photo"), b"", {}, MOST))[0] == 307
    for path in ("/large", "/endless", "/silent"):
        with pytest.raises(FetchError):
            await world.fetcher.exchange(world.url(path), b"", {}, MOST)
    assert (world.seen[0].method, world.seen[0].content_length, world.seen[0].headers["Accept"]) == ("POST", 3, "x/y")
    world.names[HOST] = [[HOME]]
    with pytest.raises(FetchError):
        await world.fetcher.exchange(world.url("/photo"), b"", {}, MOST)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"])  # fmt: skip
async def test_nothing_is_posted_inside(make: Make, address: str):
    """The same judge as for what is fetched; the URL that says so itself is refused before anything is tried."""
    world = make(is_allowed=is_public)
    world.names[HOST] = [[address]]
    with pytest.raises(FetchError):
        await world.fetcher.hand_over(world.url(), b"{}", {}, MOST)
    with pytest.raises(FetchError, match="public internet"):
        world.fetcher.check(f"https://{f'[{address}]' if ':' in address else address}:{world.server.port}/")
    assert not world.seen


NO_NAMES = """
127.1 0 2130706433 0x7f.1 127.0.0.01 10.0.0.1. localhost localhost. a.localhost printer router.local db.internal a.invalid a.onion
a..example .example -a.example a-.example a.-example a.1
"""


@pytest.mark.parametrize("host", [*NO_NAMES.split(), f"{'a' * 64}.example", f"{'a.' * 124}example"])
def test_what_is_no_name_of_the_public_internet_is_refused_at_once(host: str):
    """Such a URL would be tried for days, and never answer; some resolvers take a few of them for this machine."""
    with pytest.raises(FetchError, match="whole name"):
        Fetcher().check(f"https://{host}/x")


def test_a_url_with_a_space_or_a_control_character_is_refused_at_once():
    """Two readers of URLs understand it differently: some leave it out, some end there. In the path as well."""
    for url in (
        "https://a.example\t/x",
        "https://a.example /",
        " https://a.example/",
        "https://a.example/x\n",
        "https://a.example/\xa0",
    ):
        with pytest.raises(FetchError, match="no space"):
            Fetcher().check(url)
    for url in (
        "https://a.example/x?y=%20",
        "https://xn--bcher-kva.example./",
        "https://a_b.1.example",
        "https://8.8.8.8/",
        "https://a.xn--p1ai/",
    ):
        Fetcher().check(url)


async def test_who_does_not_answer_in_time_gave_no_answer(make: Make):
    """A server that takes the post and says nothing."""
    world = make(timeout_s=0.2)
    with pytest.raises(FetchError, match="in time"):
        await world.fetcher.hand_over(world.url("/mute"), b"{}", {}, MOST)


async def test_who_answers_and_never_ends_has_answered(make: Make):
    """The status says it, and so much of the body as came; no more is waited for."""
    world = make(timeout_s=2)
    url = world.url("/unfinished")
    assert (await world.fetcher.hand_over(url, b"{}", {}, MOST)).status == 200
    answered = await world.fetcher.hand_over(url, b"{}", {}, MOST)
    assert (answered.status, answered.body) == (200, b"a be")


async def test_this_machine_is_asked_only_where_that_is_meant():
    """For trying it out: plain http to 127.0.0.1, at a port; no other name or address of it, and nothing of it otherwise."""
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(await request.text())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app, host="127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert (await Fetcher(loopback=True).hand_over(url, b"{}", {}, MOST)).status == 200
        for fetcher, other in (
            (Fetcher(), url),
            (Fetcher(loopback=True), f"http://localhost:{server.port}/"),
            (Fetcher(loopback=True), f"http://127.0.0.2:{server.port}/"),
            (Fetcher(loopback=True), f"https://127.0.0.1:{server.port}/"),
            (Fetcher(loopback=True), "http://127.0.0.1/"),
        ):
            with pytest.raises(FetchError):
                await fetcher.hand_over(other, b"{}", {}, MOST)
    assert seen == ["{}"]
