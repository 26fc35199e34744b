"""Regions that operators draw and name ("our patrol area").

They may overlap all other regions. They have no parent, and no subscriber's place is labelled with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from geofences import files
from geofences.errors import InvalidGeometry, LibraryError
from geofences.polygons import area_km2
from geofences.regions import Kind, Library, Region
from geofences.shapes import Repair, polygon

# First number of a drawn region: above the numbers of imported ones, and within the 24 bits of a tile record.
FIRST_NUMBER = 3 << 22
SOURCE, LICENCE = "drawn by an operator", "not stated"


def outline(drawn: Any, pointer: str) -> tuple[shapely.MultiPolygon, tuple[Repair, ...]]:
    """Returns the area of a drawn shape (any input of `shapes.polygon`), rounded to the grid of region files, and the
    repairs. Raises InvalidGeometry.
    """
    found = polygon(drawn, pointer)
    try:
        (shape,) = files.quantise(np.array([found.geometry], dtype=object), files.OWN_GRID)
    except LibraryError as error:
        raise InvalidGeometry(pointer, "The outline encloses less than a square metre.") from error
    return shape, found.repairs


def region(
    code: str, name: str, names: Mapping[str, str], shape: shapely.MultiPolygon, nth: int, library: Library
) -> Region:
    """Returns a new region for a drawn shape. Its number is FIRST_NUMBER + `nth`. Its country is that of a point inside
    the shape, "" off all regions.
    """
    spot = shapely.point_on_surface(shape)
    around = library.at(spot.x, spot.y)
    return Region(
        code=code,
        name=name,
        kind=Kind.DRAWN,
        parent=None,
        country=around[-1].country if around else "",
        number=FIRST_NUMBER + nth,
        km2=area_km2(shape),
        source=SOURCE,
        licence=LICENCE,
        names=names,
    )
