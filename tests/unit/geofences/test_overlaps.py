"""An area along a border shares hardly any ground with the region across, by true area, wherever on earth that is."""

from __future__ import annotations

import pyproj
import pytest
import shapely

from alertd.config import AudienceSection
from geofences.geodesy import area_km2

GEOD = pyproj.Geod(ellps="WGS84")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("ES-SE", "ES-CA"),
        ("EC-P", "EC-X"),
        ("NO-20", "NO-19"),
        ("CL-AI", "CL-MA"),
        ("CH-VD", "CH-FR"),
        ("US-MT", "US-ND"),
    ],
)
def test_a_sliver_of_a_border_is_no_share_of_the_neighbour(library, ours, theirs):
    """A municipality drawn to the border, or a hundred metres across, has below a fiftieth of the neighbour, far below what counts."""
    here, there = library.geometry(ours), library.geometry(theirs)
    border = shapely.intersection(here.boundary, there.boundary)
    assert border.length > 0.1
    strip = shapely.buffer(border, 0.05)
    for drawn in (shapely.intersection(strip, here), shapely.intersection(strip, shapely.buffer(here, 0.001))):
        shares = {region.code: share for region, share in library.overlapping(shapely.from_wkb(shapely.to_wkb(drawn)))}
        assert shares.get(theirs, 0) < 0.02 < AudienceSection().region_share
        assert shares[ours] > shares.get(theirs, 0)


@pytest.mark.parametrize("code", ["EC-P", "ES-SE", "NO-20", "CL-MA"])
def test_a_share_is_one_of_true_area(library, code):
    """Half of a region by degrees is not half of its ground; the share is that of the ellipsoid."""
    whole = library.geometry(code)
    west, south, east, north = whole.bounds
    half = shapely.intersection(whole, shapely.box(west, (south + north) / 2, east, north))
    shares = {region.code: share for region, share in library.overlapping(shapely.from_wkb(shapely.to_wkb(half)))}
    truth = abs(GEOD.geometry_area_perimeter(shapely.segmentize(half, 0.01))[0]) / 1e6 / area_km2(whole)
    assert shares[code] == pytest.approx(truth, rel=1e-3)
