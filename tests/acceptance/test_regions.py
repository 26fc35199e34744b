"""Regions as an operator has them: a country's own outlines imported while alertd serves, and an alert that stays inside them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.acceptance.conftest import Served
from tests.unit.alertd.samples import changed

pytestmark = pytest.mark.shares

COMMUNES = Path(__file__).parents[1] / "data" / "fr_communes.topo.json.gz"
RENNES, CESSON = "FR-35238", "FR-35051"
BOX = (-1.76, 48.06, -1.46, 48.19)
PATROL = {"type": "Polygon", "coordinates": [[[-6.1, 37.3], [-5.9, 37.3], [-5.9, 37.5], [-6.1, 37.3]]]}


def outlines() -> dict[str, shapely.Geometry]:
    """The communes of the file, read by hand."""
    topology = json.loads(gzip.decompress(COMMUNES.read_bytes()))
    return {
        shape["properties"]["insee"]: shapely.Polygon(*[topology["arcs"][ring[0]] for ring in shape["arcs"]])
        for shape in topology["objects"]["communes"]["geometries"]
    }


def imported(served: Served, *words: str) -> Any:
    command = [
        sys.executable, "-m", "alertd", "regions", "import", str(COMMUNES), "--kind", "city", "--code-field", "insee",
        "--name-field", "name", "--country", "FR", "--licence", "Licence Ouverte 2.0", "--json", *words,
    ]  # fmt: skip
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(served.directory)}
    ran = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


def found(served: Served, query: str) -> list[str]:
    return [region["code"] for region in served.call("GET", f"/v1/regions?{query}")[1]["regions"]]


def spread(served: Served, count: int) -> dict[str, shapely.Point]:
    """People at random places in and around the communes, by their push token."""
    rng = np.random.default_rng(35)
    people = {
        f"rennes-{i}": shapely.Point(rng.uniform(BOX[0], BOX[2]), rng.uniform(BOX[1], BOX[3])) for i in range(count)
    }
    for token, home in people.items():
        document = {
            "languages": ["fr"],
            "kinds": ["missing-child"],
            "places": {"home": {"point": [home.x, home.y]}},
            "addresses": [{"channel": "push", "token": token}],
            "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
        }
        status, answer = served.call("PUT", f"/v1/subscribers/{token}", document)
        assert status == 201, answer
    return people


def test_two_french_communes_are_imported_while_it_serves_and_reach_exactly_those_inside(
    served: Served, alert: dict[str, Any]
):
    """Imported codes are told apart from Spain's; within seconds they are found, and an alert for two of them reaches everybody in
    the two and nobody else.
    """
    people = spread(served, 300)
    report = imported(served)
    assert (report["regions"], report["country_put_before_codes"], report["gone"]) == (6, 6, [])
    served.wait_for(lambda: found(served, "q=Rennes&kind=city") == [RENNES], 15)
    assert found(served, "at=-1.68,48.11") == [RENNES, "FR-35", "FR"]
    alert = changed(changed(alert, "target", {"regions": [RENNES, CESSON]}), "channels", ["push"])
    preview = served.call("POST", "/v1/targets/preview", {"target": alert["target"], "language": "fr"})[1]
    assert preview["area"]["name"] == "Rennes et Cesson-Sévigné"
    sent = served.approved(alert)
    served.wait_for(lambda: served.call("GET", f"/v1/alerts/{sent}")[1]["state"] == "sent")
    communes = outlines()
    both = shapely.union_all([communes["35238"], communes["35051"]])
    inside = {token for token, home in people.items() if both.intersects(home)}
    assert 20 < len(inside) < 200
    assert {token for token in served.recorded("push") if token.startswith("rennes-")} == inside


def test_the_same_import_again_changes_nothing_and_less_is_told(served: Served, tmp_path: Path):
    """Whoever imports an edition again is told what it would take away; a dry run takes nothing."""
    imported(served)
    smaller = json.loads(gzip.decompress(COMMUNES.read_bytes()))
    smaller["objects"]["communes"]["geometries"].pop()
    other = tmp_path / "fr_communes.topo.json"
    other.write_text(json.dumps(smaller))
    command = [
        sys.executable,
        "-m",
        "alertd",
        "regions",
        "import",
        str(other),
        "--kind",
        "city",
        "--code-field",
        "insee",
    ]
    command += ["--name-field", "name", "--country", "FR", "--dry-run", "--json"]
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(served.directory)}
    ran = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert json.loads(ran.stdout)["gone"] == ["FR-35334"]
    assert imported(served)["gone"] == []


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("q=sevila", "ES-SE"),
        ("q=dos+hremanas", "41038"),
        ("q=Espa%C3%B1a", "ES"),
        ("q=Hiszpania", "ES"),
        ("q=ES618", "ES-SE"),
        ("q=santiago&at=-70.6,-33.4", "CL-RM"),
        ("q=santiago&at=-8.5,42.9", "15078"),
        ("bbox=-5.99,37.38,-5.98,37.39&kind=city", "41091"),
        ("parent=ES-SE&kind=city&q=herm", "41038"),
    ],
)
def test_regions_are_found_as_people_ask(served: Served, query: str, first: str):
    """With a slip, in any language, by a foreign code, near a place, in a box and below another."""
    assert found(served, query)[0] == first


def test_pages_of_regions_follow_one_another(served: Served):
    """All municipalities of a province come once each, page by page."""
    codes: list[str] = []
    cursor = ""
    while True:
        answer = served.call("GET", f"/v1/regions?parent=ES-SE&kind=city&limit=50{cursor}")[1]
        codes += [region["code"] for region in answer["regions"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert len(codes) == len(set(codes)) > 100


def test_an_outline_is_small_for_a_map_and_whole_for_matching(served: Served):
    """Canada comes in a few kB, in full with every vertex, or not at all."""
    by_size = {
        size: len(json.dumps(served.call("GET", f"/v1/regions/CA?geometry={size}")[1]["geometry"]))
        for size in ("none", "simple", "full")
    }
    assert by_size["none"] < 5 < by_size["simple"] < 10_000
    assert by_size["full"] > 1_000_000


def test_a_foreign_code_shows_its_region(served: Served):
    """NUTS:ES618 is Sevilla; what is several regions, or only about one, offers them."""
    region = served.call("GET", "/v1/regions/NUTS:ES618?geometry=none")[1]
    assert (region["code"], region["names"]["fr"]) == ("ES-SE", "Séville")
    assert {"NUTS:ES618", "HASC:ES.SE"} & set(region["aliases"])
    for code, offered in (("ISO3166-2:ES-AN", "ES-SE"), ("NUTS:DE212", "DE-BY")):
        status, answer = served.call("GET", f"/v1/regions/{code}")
        assert (status, offered in answer["nearest"]) == (404, True)


def test_a_target_takes_foreign_codes_that_are_exact(served: Served):
    """A province by its NUTS code is that province; a district that is not known is refused with what holds it."""
    named, foreign = (
        served.call("POST", "/v1/targets/preview", {"target": {"regions": [code]}}) for code in ("ES-SE", "NUTS:ES618")
    )
    assert (foreign[0], foreign[1]["area"]) == (200, named[1]["area"])
    assert named[1]["area"]["name"] == "Seville province"
    status, answer = served.call("POST", "/v1/targets/preview", {"target": {"regions": ["NUTS:DE212"]}})
    assert (status, answer["type"]) == (422, "/problems/unknown-region")
    assert "DE-BY" in answer["errors"][0]["detail"]


def test_a_region_is_drawn_and_drawn_anew(served: Served):
    """It is there at once, under a code of its own; its ETag keeps two people from overwriting one another."""
    body = {"name": "Our patrol area", "names": {"es": "Nuestra zona"}, "geometry": PATROL}
    status, made = served.call("PUT", "/v1/regions/PATROL-7", body)
    assert (status, made["kind"], made["country"]) == (201, "drawn", "ES")
    assert served.call("PUT", "/v1/regions/PATROL-7", body)[0] == 200
    preview = served.call("POST", "/v1/targets/preview", {"target": {"regions": ["PATROL-7"]}, "language": "es"})[1]
    assert "Nuestra zona" not in str(preview["area"])  # what it is called is anybody's word, and alerts are public
    assert found(served, "q=nuestra+zona") == ["PATROL-7"]
    status, answer = served.call("PUT", "/v1/regions/41091", body)
    assert (status, "Sevilla" in answer["detail"]) == (403, True)
    status, answer = served.call(
        "PUT", "/v1/regions/P", {**body, "geometry": {"type": "Polygon", "coordinates": [[[0, 0]]]}}
    )
    assert (status, answer["errors"][0]["pointer"].startswith("/geometry")) == (422, True)


def test_a_drawn_region_is_deleted(served: Served):
    """It is gone at once: to show, to find and to target."""
    assert served.call("PUT", "/v1/regions/PATROL-8", {"name": "Search sector", "geometry": PATROL})[0] == 201
    assert served.call("DELETE", "/v1/regions/PATROL-8")[0] == 204
    assert served.call("DELETE", "/v1/regions/PATROL-8")[0] == 404
    assert served.call("GET", "/v1/regions/PATROL-8")[0] == 404
    assert found(served, "q=search+sector&kind=drawn") == []
    status, answer = served.call("POST", "/v1/targets/preview", {"target": {"regions": ["PATROL-8"]}})
    assert (status, answer["type"]) == (422, "/problems/unknown-region")


def test_an_unchanged_region_is_not_sent_again(served: Served):
    """Whoever shows the ETag of what they have gets no body."""

    def ask(**headers: str) -> tuple[int, str | None, bytes]:
        headers |= {"Authorization": f"Bearer {served.key}"}
        request = urllib.request.Request(f"{served.url}/v1/regions/41091", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers["ETag"], answer.read()
        except urllib.error.HTTPError as same:
            with same:
                return same.code, same.headers["ETag"], same.read()

    status, version, body = ask()
    assert (status, len(body) > 100) == (200, True)
    assert ask(**{"If-None-Match": str(version)}) == (304, version, b"")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("at=91", "at"),
        ("at=37.4,-95", "at"),
        ("bbox=1,2,3", "bbox"),
        ("bbox=5,1,2,3", "bbox"),
        ("parent=nowhere", "parent"),
    ],
)
def test_a_question_that_makes_no_sense_says_where(served: Served, query: str, parameter: str):
    """A place that is none, and a parent that is none, are told by their parameter."""
    status, answer = served.call("GET", f"/v1/regions?{query}")
    assert (status, answer["errors"][0]["parameter"]) == (400, parameter)
