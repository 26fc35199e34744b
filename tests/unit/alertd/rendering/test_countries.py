"""In which countries people are told, so that they are given a number that works there."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from alertd.model.alert import Target
from alertd.service.areas.targeting import Targeting, asked_for
from geofences import targets
from geofences.regions import Library

IRUN, GIBRALTAR, SEVILLA = [-1.79, 43.34], [-5.35, 36.15], [-5.98, 37.39]


@pytest.mark.parametrize(("asked", "countries"), [
    ({"regions": ["41091"]}, ("ES",)),
    ({"regions": ["ES"]}, ("ES",)),  # and none of its neighbours
    ({"regions": ["FR"]}, ("FR",)),
    ({"regions": ["ES-SS", "FR-64"]}, ("ES", "FR")),
    ({"circles": [{"center": SEVILLA, "radius_km": 30}]}, ("ES",)),
    ({"rings": [{"center": IRUN, "radius_km": 30}]}, ("ES", "FR")),
    ({"circles": [{"center": GIBRALTAR, "radius_km": 20}]}, ("ES", "GI")),  # a hundredth of it, and all of Gibraltar
    ({"regions": ["ES-SS"], "buffer_km": 20}, ("ES", "FR")),
    ({"circles": [{"center": [-30, 45], "radius_km": 5}]}, ()),
])  # fmt: skip
async def test_the_countries_of_an_area(library: Library, asked: dict[str, Any], countries: tuple[str, ...]):
    """Those of the regions that were named; of what was drawn, those it lies in and not those it only brushes."""
    targeting = Targeting(SimpleNamespace(library=library), None, None, None, None)  # type: ignore[arg-type]
    target = Target.model_validate_json(json.dumps(asked))
    area = targets.resolve(asked_for(target), library)
    assert targeting.countries(target, area, await targeting.shares(area.geometry)) == countries
