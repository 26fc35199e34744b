"""Every package that is installed is one that the locks name by version and hash; every image is named by its digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "ops" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUN = PROJECT["project"]["dependencies"]
GROUPS = PROJECT.get("dependency-groups", {})
#: Lock -> what pyproject.toml asks of it.
ASKED = {
    "run": RUN,
    "build": [*GROUPS.get("build", ()), *PROJECT["build-system"]["requires"]],
    "test": [*RUN, *PROJECT["project"]["optional-dependencies"]["test"]],
    "client": GROUPS.get("client", ()),
    "docs": GROUPS.get("docs", ()),
    "tools": GROUPS.get("tools", ()),
}
DIGEST = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
VENDORED = ROOT / "alertd" / "console" / "static" / "vendor" / "vendor.json"


def entries(lock: str) -> Iterator[tuple[Requirement, list[str]]]:
    """The requirements of a lock, each with its hashes."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8").replace("\\\n", "")
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line)
            yield Requirement(requirement), hashes


def version_of(requirement: Requirement) -> str:
    [specifier] = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


def here(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Name -> version and hashes of what a lock holds for this Python on this machine."""
    return {
        canonicalize_name(one.name): (version_of(one), hashes)
        for one, hashes in entries(lock)
        if one.marker is None or one.marker.evaluate()
    }


def versions(lock: str) -> dict[str, str]:
    return {name: version for name, (version, _) in here(lock).items()}


@pytest.mark.parametrize("lock", sorted(ASKED))
def test_each_lock_names_exact_versions_with_hashes_and_no_host(lock: str):
    found = list(entries(lock))
    assert found
    for requirement, hashes in found:
        assert requirement.url is None
        assert version_of(requirement)
        assert hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in hashes), requirement
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in re.sub(r"# via.*|#   .*", "", text)


@pytest.mark.parametrize("lock", sorted(ASKED))
def test_each_lock_satisfies_pyproject(lock: str):
    """If this fails, run ops/lock."""
    locked: dict[str, list[str]] = {}
    for requirement, _ in entries(lock):
        locked.setdefault(canonicalize_name(requirement.name), []).append(version_of(requirement))
    for asked in map(Requirement, ASKED[lock]):
        found = locked.get(canonicalize_name(asked.name), [])
        assert found, f"{asked} is not in ops/locks/{lock}.txt"
        assert [version for version in found if version not in asked.specifier] == [], asked


def test_the_lock_of_node_packages_names_exact_versions_with_hashes_and_no_host():
    asked = json.loads((LOCKS / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    lock = json.loads((LOCKS / "node" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert lock.pop("")["dependencies"] == asked
    assert {name: lock[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert [name for name, package in lock.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in lock.items() if "resolved" in package] == []


def test_no_script_installs_what_no_lock_names():
    """Each call of pip or npm takes hashes from a lock, or takes nothing from an index."""
    files = [file for file in (ROOT / "ops").rglob("*") if file.is_file() and file.suffix in {"", ".sh"}]
    texts = [file.read_text(encoding="utf-8").replace("\\\n", "") for file in files]
    scripts = [text for text in texts if "bash" in text.partition("\n\n")[0]]
    call = re.compile(
        r"^(?! *#|pip_install\(\)).*\b(?:pip_install --|pip install |npm install |npm ci ).*", re.MULTILINE
    )
    calls = [found for text in scripts for found in call.findall(text)]
    assert len(calls) == 6
    locked = {"--require-hashes", "--no-index", "ci", "--package-lock-only"}
    assert [one for one in calls if not locked & {*one.split()}] == []


def test_the_locks_agree():
    """The tests run on the versions that the image has and is built with."""
    test = versions("test")
    for lock in ("run", "build"):
        assert versions(lock).items() <= test.items()


def test_what_is_installed_is_what_the_lock_names():
    """The tests run on the locked versions and on no others."""
    assert {name: metadata.version(name) for name in here("test")} == versions("test")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with one wheel of one package."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "")
        wheel.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("thing-1.0.dist-info/RECORD", "")
    return folder


def test_setup_refuses_a_package_whose_hash_is_not_in_the_lock(tmp_path: Path, wheels: Path):
    """The index, or whoever sits between, may have put another file under the same version."""
    locks = tmp_path / "project" / "ops" / "locks"
    locks.mkdir(parents=True)
    (locks.parent / "setup").write_bytes((ROOT / "ops" / "setup").read_bytes())
    (tmp_path / "project" / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\n[project]\nname = "x"\nversion = "1"\ndependencies = ["thing"]\n'
    )
    (locks / "run.txt").write_text("")
    (locks / "build.txt").write_text(f"thing==1.0 --hash=sha256:{hashlib.sha256(b'another file').hexdigest()}\n")
    run = subprocess.run(
        ["bash", "-c", ". ops/setup; set_up"],
        cwd=tmp_path / "project",
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 1
    assert "DO NOT MATCH THE HASHES" in run.stderr
    assert not (tmp_path / "project" / ".venv" / ".alertd-set-up").exists()


def test_image_installs_only_what_the_locks_name():
    """Each call of pip checks hashes, or takes nothing from an index."""
    calls = re.findall(r"pip (?:install|wheel|download) [^&|;\n]*", DOCKERFILE)
    locked = [call for call in calls if "--require-hashes" in call]
    assert {name for call in locked for name in re.findall(r"ops/locks/(\w+)\.txt", call)} == {"run", "build"}
    assert [call for call in calls if call not in locked and not {"--no-index", "--no-deps"} <= {*call.split()}] == []


def test_image_has_an_sbom():
    assert "ops/sbom >/opt/alertd/sbom.cdx.json" in DOCKERFILE


def test_base_images_are_named_by_digest():
    """A tag can be moved to another image, a digest cannot."""
    composed = yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 2
    images += [service["image"] for service in composed if "build" not in service]
    assert [one for one in images if not DIGEST.fullmatch(one)] == []


@pytest.fixture(scope="module")
def sbom() -> str:
    command = [sys.executable, str(ROOT / "ops" / "sbom")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_sbom_lists_what_alertd_ships(sbom: str):
    """Every locked package with its version and hashes, every vendored script and every file of the region library."""
    components: list[dict[str, Any]] = json.loads(sbom)["components"]
    packages = {
        canonicalize_name(one["name"]): (
            one["version"],
            [f"sha256:{digest['content']}" for source in one["externalReferences"] for digest in source["hashes"]],
        )
        for one in components
        if one.get("purl", "").startswith("pkg:pypi/")
    }
    assert {name: (version, sorted(hashes)) for name, (version, hashes) in packages.items()} == {
        name: (version, sorted(hashes)) for name, (version, hashes) in here("run").items()
    }
    vendored = {f"pkg:npm/{one['name']}@{one['version']}" for one in json.loads(VENDORED.read_text(encoding="utf-8"))}
    assert {one["purl"] for one in components if one.get("purl", "").startswith("pkg:npm/")} == vendored
    library = {file.name for file in (ROOT / "geofences" / "library").glob("*.regions")}
    assert {one["name"] for one in components if one["type"] == "data"} == library


def test_sbom_fits_the_schema_of_cyclonedx(sbom: str):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom) is None


def test_audit_fails_if_the_vulnerability_service_does_not_answer():
    """A package that could not be looked up is not one without vulnerabilities."""
    nobody = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    command = [str(ROOT / "ops" / "audit"), "--timeout", "5"]
    run = subprocess.run(command, env=os.environ | nobody, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 1
    assert "the vulnerability service" in run.stderr


def test_long_runs_ask_for_known_vulnerabilities():
    long = (ROOT / "ops" / "test").read_text(encoding="utf-8").split('if [ "$mode" = --long ]; then')[1]
    assert "stage vulnerabilities ops/audit\n" in long
