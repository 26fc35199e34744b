"""`alertd regions import` as an operator runs it, on a data directory that nobody serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import shapely

from geofences.regions import Library

SALAMANCA = shapely.box(-3.690, 40.420, -3.675, 40.432)


def imported(data: Path, file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alertd", "regions", "import", str(file), "--kind", "city", "--code-field", "cp"]
    command += ["--name-field", "title", "--country", "ES", *words]
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(data)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_postal_code_takes_no_municipalitys_place_unless_that_is_meant(tmp_path: Path):
    """28001 is La Acebeda, and a postal code of Madrid: refused with both named and nothing written; with --replace it is told, too."""
    file = tmp_path / "postal.geojson"
    feature = {"type": "Feature", "properties": {"cp": "28001", "title": "Madrid (Salamanca)"}}
    feature |= {"geometry": shapely.geometry.mapping(SALAMANCA)}
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    refused = imported(tmp_path, file)
    assert (refused.returncode, "row 1 (28001) has the code of La Acebeda" in refused.stderr) == (1, True)
    assert list(tmp_path.rglob("*.regions")) == []
    tried = imported(tmp_path, file, "--replace", "--dry-run", "--json")
    assert [(one["was"], one["now"]) for one in json.loads(tried.stdout)["replaced"]] == [
        ("La Acebeda", "Madrid (Salamanca)")
    ]
    done = imported(tmp_path, file, "--replace")
    assert "28001 was La Acebeda and is Madrid (Salamanca), with 0% of its ground in common." in done.stdout
    assert Library.load(added=tmp_path / "regions").get("28001").name == "Madrid (Salamanca)"


def test_a_country_that_is_none_is_said_before_anything_is_read(tmp_path: Path):
    """FRA for FR costs no minutes, and the right one is offered."""
    file = tmp_path / "postal.geojson"
    file.write_text("{}")
    refused = imported(tmp_path, file, "--country", "ESP")
    assert (refused.returncode, "ESP is no country" in refused.stderr, "Did you mean ES?" in refused.stderr) == (
        1,
        True,
        True,
    )
    assert "Reading" not in refused.stderr


def test_an_import_where_nobody_serves_says_so(tmp_path: Path):
    """Regions that were put into the wrong folder are found by no service."""
    file = tmp_path / "postal.geojson"
    feature = {"type": "Feature", "properties": {"cp": "zz1", "title": "Salamanca"}}
    feature |= {"geometry": shapely.geometry.mapping(SALAMANCA)}
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    done = imported(tmp_path / "elsewhere", file)
    assert (done.returncode, f"No alertd has its data in {tmp_path / 'elsewhere'} yet" in done.stderr) == (0, True)


def test_what_was_imported_is_taken_out_again(tmp_path: Path):
    """By the name it is kept under; what is not there is refused with what is, and its number is given to nobody else."""
    file = tmp_path / "postal.geojson"
    feature = {"type": "Feature", "properties": {"cp": "zz1", "title": "Salamanca"}}
    feature |= {"geometry": shapely.geometry.mapping(SALAMANCA)}
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert imported(tmp_path, file).returncode == 0
    first = Library.load(added=tmp_path / "regions").get("zz1").number
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(tmp_path)}
    remove = [sys.executable, "-m", "alertd", "regions", "remove"]
    refused = subprocess.run(
        [*remove, "postel"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (refused.returncode, "there is postal" in refused.stderr) == (1, True)
    done = subprocess.run(
        [*remove, "postal"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, "no longer notified by it" in done.stdout) == (0, True)
    assert "zz1" not in Library.load(added=tmp_path / "regions")
    feature["properties"]["cp"] = "zz2"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert imported(tmp_path, file).returncode == 0
    assert Library.load(added=tmp_path / "regions").get("zz2").number != first
