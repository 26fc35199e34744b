"""Ground without slivers: the parts and holes of no area that overlays leave along borders.

They hold nobody, and GEOS stumbles over them: an area of a town and one sliver of 1e-18 square degrees, valid, "shares" with a town
10 km away all of that town's ground (GEOS 3.14.1). No position is moved, so whoever lies on a border still lies on it.
"""

from __future__ import annotations

import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

#: Square degrees: on the ground at most that of a hand. Slivers have some 1e-17.
NO_GROUND = 1e-12


def ground(geometry: BaseGeometry) -> MultiPolygon:
    """The polygons of a geometry as a new MultiPolygon, sharing nothing with it, without those of no area; lines and points fall out."""
    parts = shapely.get_parts(geometry)
    is_ground = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > NO_GROUND)
    return MultiPolygon([_without_pinholes(part) for part in parts[is_ground].tolist()])


def _without_pinholes(part: Polygon) -> Polygon:
    holes = [hole for hole in part.interiors if Polygon(hole).area > NO_GROUND]
    return part if len(holes) == len(part.interiors) else Polygon(part.exterior, holes)
