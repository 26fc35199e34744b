"""What browsers are given: the files of others as they were published, little to load, every word in every language."""

from __future__ import annotations

import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from alertd import service
from alertd.api.application import OPERATIONS, needs
from alertd.common.errors import CATALOGUE
from alertd.console import STATIC, console_routes
from alertd.console.tables import module, tables
from alertd.console.words import catalogue_of, modules
from alertd.model.kinds import Level
from alertd.model.states import AlertState, State
from alertd.rendering.renderer import LEFT_OUT, NEVER_LEFT_OUT
from alertd.service.alerts.permissions import ACTS
from alertd.service.delivery import schedule
from alertd.service.delivery.expand_addresses import Standing
from alertd.service.delivery.explanations import Notified, Why
from alertd.service.oncall import paging
from alertd.service.organisations import region_imports
from alertd.service.records import restoring
from alertd.service.retention import archiving
from geofences.shapes import RepairCode
from tests.acceptance.conftest import CHANNELS

VENDOR = STATIC / "vendor"
WORDS = catalogue_of(STATIC / "words.json").words
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in STATIC.rglob("*.js")}
#: How many forms a word with a count has, by language.
FORMS = [2, 2, 2, 5]
#: Packed: what signing in and Now need, and what any screen needs that is opened first, its map included (before the map's tiles).
FIRST_BYTES, LARGEST_BYTES = 110_000, 700_000
#: What a page, a sheet or a script asks for before it does anything, and what it asks for when it is needed.
AT_ONCE = re.compile(
    r'''(?:^|;)(?:import|export)\b[^;"]*"(\.\.?/[^"]+)"|^@import url\("([^"]+)"\)|<(?:link|script)[^>]*(?:href|src)="/console/([^"]+)"''',
    re.MULTILINE,
)
LATER = re.compile(r"""\bimport\("([^"]+)"\)|new URL\("([^"]+)", import\.meta\.url\)""")
#: MapLibre makes this address by itself.
WORKER = "vendor/maplibre-gl-worker.mjs"


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.add_routes(console_routes(needs(), CHANNELS))
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def test_a_client_without_gzip_costs_no_inflation():
    """Every request gets the same bytes: the file is not inflated on the event loop each time."""
    [file] = [one for one in console_routes(needs(), CHANNELS) if one.path == "/console/{path:.+}"]
    name = "vendor/maplibre-gl.mjs"
    request = make_mocked_request("GET", f"/console/{name}", match_info={"path": name})
    first, second = await file.handler(request), await file.handler(request)
    assert first.body == (STATIC / name).read_bytes()
    assert first.body is second.body


def test_files_of_others_are_what_was_fetched():
    """Each has its package, version, licence and digest beside it, and there is none besides."""
    told = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))
    digests = {name: digest for package in told for name, digest in package["sha256"].items()}
    have = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.*s")}
    assert have == digests
    for package in told:
        assert package["integrity"].startswith("sha512-")
        assert (VENDOR / f"{package['name']}.LICENSE.txt").stat().st_size > 0


def asked_by(name: str, pattern: re.Pattern[str]) -> set[str]:
    """The files that one asks for in this way, by their paths below the console's folder."""
    text = (STATIC / name).read_text(encoding="utf-8")
    found = {next(filter(None, match.groups())) for match in pattern.finditer(text)}
    return {posixpath.normpath(PurePosixPath(name).parent / one) for one in found if not one.endswith("/tables.js")}


def with_theirs(names: set[str], *patterns: re.Pattern[str]) -> set[str]:
    """These files, and what they and those ask for in one of these ways."""
    left, there = names, set[str]()
    while left:
        there |= left
        left = {one for name in left for pattern in patterns for one in asked_by(name, pattern)} - there
    return there


def packed(names: set[str]) -> int:
    made = {
        "tables.js": module(needs(), CHANNELS),
        "words.ar.js": modules(STATIC / "words.json")["words.ar.js"],
    }  # the longest words
    whole = [(STATIC / name).read_bytes() for name in names] + [text.encode() for text in made.values()]
    return sum(len(gzip.compress(data, 9)) for data in whole)


def test_signing_in_and_now_load_little():
    """No screen that somebody has to go to comes with them, and no map."""
    first = with_theirs({"index.html"}, AT_ONCE)
    assert {"app.js", "alert/now.js", "vendor/preact.mjs", "console.css", "area/area.css"} <= first
    assert {one for one in first if "maplibre" in one or "terra-draw" in one} == set()
    assert packed(first) <= FIRST_BYTES


def test_every_screen_is_small_with_its_map():
    """Whichever is opened first, all that it ever loads, the map and the drawing on it included, packed."""
    first = with_theirs({"index.html"}, AT_ONCE)
    screens = asked_by("screens.js", LATER)
    assert {"alert/alert.js", "alert/compose.js"} <= screens
    ground = with_theirs({"area/map.js", "vendor/maplibre-gl.css", WORKER}, AT_ONCE)
    sizes = {name: packed(first | with_theirs({name}, AT_ONCE, LATER) | ground) for name in screens}
    assert {name: size for name, size in sizes.items() if size > LARGEST_BYTES} == {}


def test_no_file_is_loaded_by_none():
    """What no browser asks for is not there; licences and digests are for people, the map's file is read in pieces."""
    named = with_theirs({"index.html"}, AT_ONCE, LATER)
    there = {
        path.relative_to(STATIC).as_posix()
        for path in STATIC.rglob("*.*")
        if path.suffix not in {".json", ".txt", ".pmtiles"}
    }
    assert there - named == {WORKER}


def test_each_word_is_said_in_each_language():
    """A key has its words in English, Spanish, French and Arabic, each with the forms that a count takes there, and none is left empty."""
    assert len(WORDS) > 150
    for key, words in WORDS.items():
        assert len(words) == len(FORMS), key
        assert [word.count("|") + 1 for word in words] in ([1] * len(FORMS), FORMS), key
        assert all(word.strip() for word in words), key
        assert len({tuple(sorted(re.findall(r"\{(\w+)\}", word.split("|")[-1]))) for word in words}) == 1, key


def test_each_key_is_there_once():
    """Of two alike a screen would say the second where the first is meant."""
    keys = re.findall(r'^  "([^"]+)":', (STATIC / "words.json").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(keys) >= set(WORDS)
    assert [key for key in set(keys) if keys.count(key) > 1] == []


def written_besides() -> set[str]:
    """The acts that services write into the audit themselves, beside those of operations."""
    texts = [path.read_text(encoding="utf-8") for path in Path(service.__path__[0]).rglob("*.py")]
    lines = [line for text in texts for line in re.findall(r"^ *(?:ACT|act) = .*|\brecorded\(.*", text, re.MULTILINE)]
    found = {act for line in lines for act in re.findall(r'"([a-z]+\.[a-z_-]+)"', line)}
    assert found >= {archiving.ACT, paging.ACT, region_imports.ACT, restoring.ACT, schedule.ACT, "identity.bind"}
    return found | set(ACTS.values())


def test_each_word_that_is_asked_for_is_there():
    """No screen shows the name of a key, and no word is one that no screen says."""
    known = set(WORDS)
    asked = {key for text in SCRIPTS.values() for key in re.findall(r'\bt\("([^"]+)"', text)}
    told = tables(needs(), CHANNELS)
    asked |= {f"may-{one}" for one in told["scopes"]} | {f"is-{one}" for one in told["loudness"]}
    asked |= {*told["statuses"], *told["levels"], *told["codes"], *told["verdicts"], *told["acts"], *AlertState}
    asked |= {f"act-{one.act.name}" for one in OPERATIONS if one.act} | {f"act-{one}" for one in written_besides()}
    asked |= {f"told-{one}" for one in get_args(Notified)} | {f"stands-{one}" for one in get_args(Standing)}
    asked |= {f"why-{one}" for one in get_args(Why) if one != "has-messages"}
    asked |= {f"notify{way}-{one}" for one in told["notify"] for way in ("", "-as")}
    facts = {one for some in (*LEFT_OUT.values(), *NEVER_LEFT_OUT.values()) for one in some}
    asked |= {one for one in facts if f" {one}: " not in SCRIPTS["names.js"]}  # which has another word for the others
    assert asked - known == set()
    assert {key.removeprefix("do-") for key in known if key.startswith("do-")} <= set(CATALOGUE)
    assert {f"mended-{one}" for one in get_args(RepairCode)} <= known
    scripts = "\n".join(SCRIPTS.values())
    made = [re.split(r"\$\{[^}]*\}", form) for form in re.findall(r"\bt\(`([^`]+)`", scripts)]
    forms = re.compile("|".join(".+".join(map(re.escape, parts)) for parts in made if any(parts)))
    told_as_they_are = {
        *told["channels"],
        *told["criteria"],
        *told["loudness"],
        *Level,
        *(state.word for state in State),
    }
    spare = {key for key in known - asked - told_as_they_are if f'"{key}"' not in scripts}
    assert {key for key in spare if not forms.fullmatch(key)} == set()


def test_the_tables_of_the_scripts_are_those_that_rule():
    """Each state of a reference is in one group, what is asked for is an act, and no script lists states of an alert by itself."""
    groups = tables(needs(), CHANNELS)["references"].values()
    assert sorted(word for group in groups for word in group) == sorted(state.word for state in State)
    acts = {act for text in SCRIPTS.values() for act in re.findall(r'mayDo\(me, "([^"]+)"', text)}
    assert acts | {f"alert.{act}" for act in tables(needs(), CHANNELS)["acts"]} <= needs().keys()
    words = {state.value for state in AlertState}
    for name, text in SCRIPTS.items():
        lists = re.findall(r'\[("\w+"(?:, "\w+")+)\]', text)
        assert [one for one in lists if set(re.findall(r"\w+", one)) <= words] == [], name


async def test_the_tables_are_served_as_a_script(client: TestClient[web.Request, web.Application]):
    """What the scripts read is what the console's tables say at this moment."""
    answer = await client.get("/console/tables.js")
    assert answer.content_type == "text/javascript"
    text = await answer.text()
    assert json.loads(text[text.index("{") : text.rindex("}") + 1]) == tables(needs(), CHANNELS)


async def test_nothing_inline_and_nothing_from_elsewhere(client: TestClient[web.Request, web.Application]):
    """The page and its files forbid what they do not need, and are asked for again after an upgrade."""
    for path in ("/console", "/console/app.js", "/console/map/base.pmtiles"):
        answer = await client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert answer.status == 200
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == ("no-store" if path.endswith(".pmtiles") else "no-cache")
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style|style=|https?://", page)


async def test_a_file_comes_packed_once_and_not_again(client: TestClient[web.Request, web.Application]):
    """A browser that has it is told so; one that unpacks nothing gets it plain; the map comes in pieces."""
    first = await client.get("/console/app.js")
    assert first.headers["Content-Encoding"] == "gzip"
    assert await first.text() == SCRIPTS["app.js"]
    again = await client.get("/console/app.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    plain = await client.get("/console/app.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    piece = await client.get("/console/map/base.pmtiles", headers={"Range": "bytes=0-6"})
    assert (piece.status, await piece.read()) == (206, b"PMTiles")


@pytest.mark.parametrize(
    "path", ["/console/nothing.js", "/console/../__init__.py", "/console/%2e%2e/__init__.py", "/console/vendor"]
)
async def test_what_is_no_file_of_the_console_is_not_found(client: TestClient[web.Request, web.Application], path: str):
    """Nothing beside its folder, whatever the path."""
    assert (await client.get(path)).status == 404
