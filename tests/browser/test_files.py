"""What browsers are given: the files of others as they were published, little to load, every word in every language."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from alertd.alerts import AlertState, State
from alertd.api import OPERATIONS, needs
from alertd.console import STATIC, console_routes
from alertd.console.tables import tables
from alertd.kinds import Level
from alertd.service.explaining import Told, Why
from alertd.service.planning import Standing

VENDOR = STATIC / "vendor"
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
#: How many forms a word with a count has, by language.
FORMS = [2, 2, 2, 5]
#: Of everything that the console can load before the map's tiles.
LARGEST_BYTES = 700_000


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.add_routes(console_routes(needs()))
    async with TestClient(TestServer(app)) as opened:
        yield opened


def test_files_of_others_are_what_was_fetched():
    """Each has its package, version, licence and digest beside it, and there is none besides."""
    told = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))
    digests = {name: digest for package in told for name, digest in package["sha256"].items()}
    have = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.*s")}
    assert have == digests
    for package in told:
        assert package["integrity"].startswith("sha512-")
        assert (VENDOR / f"{package['name']}.LICENSE.txt").stat().st_size > 0


def test_the_console_is_small():
    """All of it together, packed, map and drawing included."""
    packed = sum(
        len(gzip.compress(path.read_bytes(), 9))
        for path in STATIC.rglob("*.*")
        if path.suffix not in {".json", ".pmtiles", ".txt"}  # no browser loads licences and digests
    )
    assert packed <= LARGEST_BYTES


def test_each_word_is_said_in_each_language():
    """A key has its words in English, Spanish, French and Arabic, each with the forms that a count takes there, and none is left empty."""
    rows = re.findall(r'^  "([^"]+)": (\[.+\]),$', SCRIPTS["words.js"], re.MULTILINE)
    assert len(rows) > 150
    for key, row in rows:
        words = json.loads(row)
        assert len(words) == len(FORMS), key
        assert [word.count("|") + 1 for word in words] in ([1] * len(FORMS), FORMS), key
        assert all(word.strip() for word in words), key
        assert len({tuple(sorted(re.findall(r"\{(\w+)\}", word.split("|")[-1]))) for word in words}) == 1, key


def test_each_word_that_is_asked_for_is_there():
    """No screen shows the name of a key, and no word is one that no screen says."""
    known = set(re.findall(r'^  "([^"]+)": \[', SCRIPTS["words.js"], re.MULTILINE))
    asked = {key for text in SCRIPTS.values() for key in re.findall(r'\bt\("([^"]+)"', text)}
    told = tables(needs())
    asked |= {f"may-{one}" for one in told["scopes"]} | {f"is-{one}" for one in told["loudness"]}
    asked |= {*told["statuses"], *told["levels"], *told["codes"], *told["verdicts"], *told["acts"], *AlertState}
    asked |= {f"act-{one.act.name}" for one in OPERATIONS if one.act and one.act.name.startswith("alert.")}
    asked |= {f"told-{one}" for one in get_args(Told)} | {f"stands-{one}" for one in get_args(Standing)}
    asked |= {f"why-{one}" for one in get_args(Why) if one != "has-messages"}
    asked |= {f"notify{way}-{one}" for one in told["notify"] for way in ("", "-as")}
    assert asked - known == set()
    scripts = (
        "\n".join(text for name, text in SCRIPTS.items() if name != "words.js")
        + SCRIPTS["words.js"].rpartition("};")[2]
    )
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
    groups = tables(needs())["references"].values()
    assert sorted(word for group in groups for word in group) == sorted(state.word for state in State)
    acts = {act for text in SCRIPTS.values() for act in re.findall(r'mayDo\(me, "([^"]+)"', text)}
    assert acts | {f"alert.{act}" for act in tables(needs())["acts"]} <= needs().keys()
    words = {state.value for state in AlertState}
    for name, text in SCRIPTS.items():
        lists = re.findall(r'\[("\w+"(?:, "\w+")+)\]', text) if name != "words.js" else []
        assert [one for one in lists if set(re.findall(r"\w+", one)) <= words] == [], name


async def test_the_tables_are_served_as_a_script(client: TestClient[web.Request, web.Application]):
    """What the scripts read is what the console's tables say at this moment."""
    answer = await client.get("/console/tables.js")
    assert answer.content_type == "text/javascript"
    text = await answer.text()
    assert json.loads(text[text.index("{") : text.rindex("}") + 1]) == tables(needs())


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
