"""Outlines for maps: a few kilobytes of what takes megabytes to match with. For looking at only."""

from __future__ import annotations

import shapely

from geofences.polygons import polygons_of
from geofences.simplifying import simplified

# A map of one region shows no more; 300 positions are some 6 kB of GeoJSON.
MOST_VERTICES = 300
# Of the region's own width: half a pixel of a map of 1,000.
FIRST_TOLERANCE = 1 / 2000
# Ten metres.
GRID_DEGREES = 1e-4


def simple(outline: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """About the same ground in at most MOST_VERTICES positions; islands that are too small to be seen are gone."""
    west, south, east, north = outline.bounds
    tolerance = max(east - west, north - south) * FIRST_TOLERANCE
    drawn = polygons_of(outline)
    while int(shapely.get_num_coordinates(drawn)) > MOST_VERTICES:
        drawn = polygons_of(_without_specks(simplified(drawn, tolerance), tolerance))
        tolerance *= 1.5
    rounded = polygons_of(shapely.set_precision(drawn, GRID_DEGREES))
    return drawn if rounded.is_empty else rounded


def _without_specks(geometry: shapely.Geometry, width: float) -> shapely.Geometry:
    """The polygons and holes that are wider than so, and the largest polygon in any case."""
    parts = shapely.get_parts(geometry)
    largest = shapely.area(parts).max()
    kept = [part for part in parts if part.area >= min(largest, 4 * width * width)]
    return shapely.MultiPolygon(
        [
            shapely.Polygon(part.exterior, [r for r in part.interiors if shapely.Polygon(r).area >= 4 * width * width])
            for part in kept
        ]
    )
