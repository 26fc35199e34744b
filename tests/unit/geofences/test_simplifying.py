"""Outlines of very many vertices made simple: no outline ends the process, and nobody inside is lost."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import shapely

from geofences.simplifying import MOST_VERTICES, MOST_WHOLE, simplified, thinned

#: A comb of so many teeth ended the process while it was simplified.
TEETH = 60_000
SCRIPT = """
import json, sys
import numpy as np
from geofences.targets import Target, Selection, resolve
teeth, way = int(sys.argv[1]), sys.argv[2]
x, y = np.linspace(-9, 3, teeth), np.where(np.arange(teeth) % 2, 37, 43.0)
comb = [*np.column_stack([x, y]).tolist(), [3, 36], [-9, 36]]
box = [[-9, 36], [3, 36], [3, 44], [-9, 44]]
target = {
    "wanted": Target(polygons=(comb,)),
    "excluded": Target(polygons=(box,), exclude=Selection(polygons=(comb,))),
}[way]
print(json.dumps(resolve(target, None).km2))
"""


@pytest.mark.parametrize("way", ["wanted", "excluded"])
def test_a_comb_of_many_teeth_has_an_answer(way: str):
    """It is valid, so it is taken as it is; in a process of its own, which would end otherwise."""
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(TEETH), way], capture_output=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-500:]
    assert json.loads(ran.stdout) > 100_000


def wavy(count: int) -> shapely.Polygon:
    """A coast of many vertices round an island."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 1 + 0.02 * np.sin(40 * angle) + 0.0005 * np.sin(9_000 * angle)
    return shapely.Polygon(np.column_stack([10 + radius * np.cos(angle), 20 + radius * np.sin(angle)]))


@pytest.mark.parametrize("inwards", [False, True])
def test_a_coast_of_100_000_vertices_is_thinned_on_one_side(inwards: bool):
    """It covers what it was, or is covered by it, and is not much larger or smaller."""
    coast = wavy(100_000)
    thin = thinned(coast, inwards=inwards)
    assert shapely.get_num_coordinates(thin) <= MOST_VERTICES
    assert shapely.covers(*((coast, thin) if inwards else (thin, coast)))
    assert thin.area == pytest.approx(coast.area, rel=0.01)


def test_a_long_ring_is_simplified_in_pieces():
    """What comes of it lies as near to what it was as that of a short one, and no ring vanishes."""
    hole = shapely.Point(10, 20).buffer(0.0001)
    area = shapely.difference(wavy(2 * MOST_WHOLE), hole)
    [thin] = shapely.get_parts(simplified(area, 0.002))
    assert shapely.get_num_coordinates(thin) < MOST_WHOLE / 10
    assert shapely.hausdorff_distance(thin.exterior, area.exterior) < 0.004
    assert len(thin.interiors) == 1
