"""What a calculation made of an outline: valid, and of polygons alone."""

from __future__ import annotations

import shapely
from shapely.geometry.base import BaseGeometry


def valid(geometry: BaseGeometry) -> BaseGeometry:
    return geometry if geometry.is_valid else shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def polygons_of(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """Its polygons, without the lines and points where others touch it."""
    return shapely.MultiPolygon([part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"])
