"""How far an area reaches across a border: slivers do not count, and no shape of a border fails."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geofences.borders import reaches_into
from geofences.regions import Library


def box(*bounds: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(*bounds)])


@pytest.mark.parametrize("north", [0, 37, 65, 80])
@pytest.mark.parametrize(("km", "counts"), [(0.25, False), (0.35, True)])
def test_an_area_reaches_into_a_region_by_its_distance_from_the_border(north: float, km: float, *, counts: bool):
    """Northwards and eastwards, at every latitude."""
    region, degrees = box(10, north, 12, north + 2), km / 111.2
    assert reaches_into(box(10.5, north - 1, 11.5, north + degrees), region, 0.3) is counts
    east = degrees / np.cos(np.radians(north + 1))
    assert reaches_into(box(9, north + 0.9, 10 + east, north + 1.1), region, 0.3) is counts
    assert not reaches_into(box(0, north, 1, north + 1), region, 0.3)


def test_shipped_neighbours_do_not_reach_into_one_another(library: Library):
    """Municipalities of one source share their borders exactly."""
    town = library.geometry("41091")
    for region, share in library.overlapping(shapely.from_wkb(shapely.to_wkb(town))):
        if share < 1 and not library.children(region.code):
            assert not reaches_into(town, library.geometry(region.code), 0.3), region.code
