"""The codes of places in a document for a gateway: of all ground that an alert is for, and of no other."""

from __future__ import annotations

from typing import Any

import pytest
import shapely

from alertd.model.cap.reader import parse_message
from alertd.service.container import Container
from tests.integration.acts import submitted

COUNTY, BESIDE = "US-06037", "US-06059"  # Los Angeles, Orange
DOWNTOWN, ANAHEIM = [-118.25, 34.05], [-117.8, 33.75]


async def places(parts: Container, sample: dict[str, Any], target: dict[str, Any]) -> list[str]:
    """The SAME codes that the alert has for IPAWS."""
    contact = [{"url": "https://centre.example/tell"}]
    case = {**sample["case"], "contact": contact}
    taken = await submitted(parts, sample, target=target, case=case, status="Exercise")
    info = parse_message(await parts.cap_out.document(await parts.alerts.get(taken.record.id), "ipaws")).infos[0]
    return [code.value for code in info.areas[0].geocodes if code.name == "SAME"]


async def test_what_is_drawn_in_a_county_rings_in_that_county_and_not_the_nation(
    parts: Container, sample: dict[str, Any]
):
    """An area that operators drew has no code of its own, whether an alert names it or lies on it."""
    patrol = shapely.geometry.mapping(shapely.box(-118.6, 33.9, -117.7, 34.8))
    await parts.regions.draw("PATROL-1", "Patrol", {}, await parts.regions.outline(patrol), org="default", seen=None)
    assert await places(parts, sample, {"regions": ["PATROL-1"]}) == ["006037"]
    assert await places(parts, sample, {"circles": [{"center": DOWNTOWN, "radius_km": 40}]}) == ["006037", "006059"]


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ({"regions": [COUNTY]}, ["006037"]),
        ({"regions": ["US-CA"]}, ["006000"]),
        ({"regions": [COUNTY], "circles": [{"center": ANAHEIM, "radius_km": 15}]}, ["006037", "006059"]),
        ({"regions": ["US-RI"], "exclude": {"regions": ["US-44007"]}}, ["044001", "044003", "044005", "044009"]),
        ({"polygons": [shapely.geometry.mapping(shapely.box(-75.6, 38.7, -75.3, 39.0))]}, ["010001", "010005"]),
    ],
)
async def test_each_county_that_an_alert_is_for_is_rung_in(
    parts: Container, sample: dict[str, Any], target: dict[str, Any], codes: list[str]
):
    """Beside a county that is named the one in which a circle lies; of a state without a county the others; for a tenth of a state not all of it."""
    assert sorted(await places(parts, sample, target)) == codes


@pytest.mark.parametrize(
    ("region", "codes"),
    [
        ("PR", ["072000"]),
        ("US-72115", ["072115"]),
        ("GU", ["066000"]),
        ("ASM-4998", ["060010"]),
    ],
)
async def test_a_territory_of_the_united_states_rings_in_that_territory(
    parts: Container, sample: dict[str, Any], region: str, codes: list[str]
):
    """Puerto Rico is a country in ISO 3166 and a state in FIPS; a district of American Samoa is not all of it."""
    assert await places(parts, sample, {"regions": [region]}) == codes
