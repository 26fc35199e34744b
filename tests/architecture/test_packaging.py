"""What is installed is the whole program: the wheel holds every file of it, and the image is built from no less."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
#: Folder in the repository -> folder in the wheel.
FOLDERS = {name: name for name in WHEEL["packages"]} | WHEEL["force-include"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stderr
    [file] = folder.glob("*.whl")
    with zipfile.ZipFile(file) as opened:
        yield opened


def sources() -> set[str]:
    """Every file of the program, under the name it has in the wheel."""
    found = [(folder, file.relative_to(ROOT / folder)) for folder in FOLDERS for file in (ROOT / folder).rglob("*")]
    return {
        f"{FOLDERS[folder]}/{file.as_posix()}"
        for folder, file in found
        if "__pycache__" not in file.parts and (ROOT / folder / file).is_file()
    }


def test_wheel_holds_the_program_and_nothing_else(wheel: zipfile.ZipFile):
    """Scripts, templates, regions, towns and pages among it; no tests, no tools."""
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == sources()
    endings = {name.rpartition(".")[2] for name in held}
    assert endings >= {"py", "lua", "html", "css", "txt", "toml", "csv", "regions"}


def test_wheel_has_the_command_and_the_licence(wheel: zipfile.ZipFile):
    """`alertd` starts the command line."""
    [folder] = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "alertd = alertd.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()


def test_image_is_built_from_all_that_the_wheel_needs():
    """Each folder and file is copied, and let in by .dockerignore, which keeps out everything else."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    copied = {name for names in copies for name in names.split()}
    assert copied >= {*FOLDERS, "pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {name.removeprefix("!") for name in ignored if name.startswith("!")} == copied
    assert "*" in ignored
