"""Outlines of very many vertices made simple, outwards alone: nobody who was inside is lost.

Finding who is inside an outline of 100,000 vertices takes ten times as long as inside one of 10,000, which no map shows to differ.
"""

from __future__ import annotations

from math import cos, pi

import shapely
from shapely.geometry.base import BaseGeometry

from geofences.simplifying import simplified

MOST_VERTICES = 10_000
#: Degrees of latitude: 11 m, doubled until the outline is simple enough, up to 1.4 km. Beyond it is left as it is.
LEAST, MOST = 1e-4, 0.0128
QUARTER = 2  # edges to a quarter circle, for what cuts a corner is made up for
#: Thinned by a step, a line lies within that step of what it was, within two where a ring begins,
#: and an eighth more where it is long; moved by so many, on one side.
FAR_ENOUGH = (1.01, 1.14, 2.15)


def thinned(geometry: BaseGeometry, *, inwards: bool = False) -> BaseGeometry:
    """A valid area that covers the one given (or, `inwards`, that it covers), with few vertices where that can be had.

    An outline that is simple enough, or would vanish, is given back as it is.
    """
    step = LEAST
    while step <= MOST and shapely.get_num_coordinates(geometry) > MOST_VERTICES:
        thin = simplified(geometry, step)
        if shapely.get_num_coordinates(thin) <= MOST_VERTICES:
            for steps in FAR_ENOUGH:
                # Moved after it is thin: moving a jagged line takes half a minute.
                distance = step * steps / cos(pi / (4 * QUARTER)) * (-1 if inwards else 1)
                moved = shapely.buffer(thin, distance, quad_segs=QUARTER)
                if shapely.get_num_coordinates(moved) <= MOST_VERTICES and _is_on_one_side(
                    geometry, moved, inwards=inwards
                ):
                    return moved
        step *= 2
    return geometry


def _is_on_one_side(geometry: BaseGeometry, moved: BaseGeometry, *, inwards: bool) -> bool:
    outer, inner = (geometry, moved) if inwards else (moved, geometry)
    return bool(not moved.is_empty and shapely.covers(outer, inner))
