"""What is imported is declared, and importing does nothing."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("alertd", "channels", "geofences")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IMPORTED = {
    "tzdata": "zoneinfo reads it where the system has no zones",
}


def canonical(name: str) -> str:
    """A distribution's name as packaging compares it, of a requirement or a name."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", name, maxsplit=1)[0]).lower()


DEPENDENCIES = frozenset(map(canonical, PROJECT["dependencies"]))
TEST_EXTRA = frozenset(map(canonical, PROJECT["optional-dependencies"]["test"]))


def modules(folder: Path) -> Iterator[str]:
    """The modules of others that a folder's files import, wherever in the file."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def providers() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def distribution(module: str) -> str | None:
    """Whose a module is; None for the standard library's and ours. Raises when nothing installed has it."""
    top, *rest = module.split(".")
    if top in {*sys.stdlib_module_names, *PACKAGES, "tests"}:
        return None
    found = set(providers()[top])
    if len(found) > 1:  # a name that several share, as `google`: the one that has the folder below it
        found = {name for name in found if any(file.parts[:2] == (top, rest[0]) for file in metadata.files(name) or ())}
    [name] = found
    return canonical(name)


def used(folder: str) -> frozenset[str]:
    return frozenset(filter(None, map(distribution, set(modules(ROOT / folder)))))


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_imports_is_declared(package: str):
    """Not by luck of what a dependency depends on: that may change under us."""
    assert used(package) - DEPENDENCIES == frozenset()


def test_what_the_tests_import_is_declared():
    """In the test extra, if the program itself does not need it."""
    assert used("tests") - DEPENDENCIES - TEST_EXTRA == frozenset()


def test_what_is_declared_is_imported():
    """A dependency that nothing uses is one to keep up to date for nothing."""
    assert DEPENDENCIES - frozenset.union(*map(used, PACKAGES)) == NOT_IMPORTED.keys()


#: Run in a fresh interpreter. A deed is ours when our code is nearer to it than the import system: reading a module is
#: the import system's own deed, reading a file while a module of ours is run is that module's.
WATCHED_IMPORT = r"""
import importlib, pkgutil, sys, threading
import pydantic

pydantic.create_model("First")  # whoever makes the first has pydantic look for its plugins, once a process
DEEDS = {
    "open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.link", "os.symlink",
    "os.putenv", "os.unsetenv", "os.fork", "os.exec", "os.posix_spawn", "os.system", "os.kill", "subprocess.Popen",
    "shutil.rmtree", "tempfile.mkdtemp", "tempfile.mkstemp", "signal.pthread_kill", "sqlite3.connect", "urllib.Request",
}
TALK = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}  # not even by what others import
ours, told = tuple(sys.argv[1:]), []

def watch(event, arguments):
    if event in TALK:
        told.append(f"somebody: {event}")
    if event not in DEEDS and not event.startswith("socket."):
        return
    frame = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_filename.startswith(ours):
            told.append(f"{frame.f_code.co_filename}:{frame.f_lineno}: {event} {arguments[:1]}")
            return
        frame = frame.f_back

sys.addaudithook(watch)
names = []
for package in ("alertd", "channels", "geofences"):
    found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    names += [module.name for module in found if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
told += [f"thread {thread.name}" for thread in threading.enumerate() if thread is not threading.main_thread()]
print(len(names))
sys.exit("\n".join(told) or 0)
"""


def test_importing_does_nothing():
    """No file is read or written, no socket or process is made by running the top of any module of ours; no thread is left."""
    folders = [str(ROOT / package) + "/" for package in PACKAGES]
    run = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED_IMPORT, *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 100
