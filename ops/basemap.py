"""Makes the console's base map, `alertd/console/static/map/base.pmtiles`, from the region library: outlines and names, no streets.

Needs tippecanoe 2.53 (Debian, Ubuntu: apt-get install tippecanoe). Run it after each rebuild of the library: .venv/bin/python ops/basemap.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shapely

from geofences.regions import Library, Region

OUT = Path(__file__).parents[1] / "alertd/console/static/map/base.pmtiles"
#: Above this zoom, tiles are stretched. At 6 the grid is about 150 m, as fine as most of the outlines.
DEEPEST = 6
#: The zoom from which a kind of region is drawn.
FROM = {"country": 0, "province": 4, "county": 6, "city": 6}
#: Minimum area in km² of a named region, by zoom.
NAMED = {
    "country": ((1_500_000, 1), (200_000, 3), (20_000, 4), (0, 6)),
    "province": ((60_000, 5), (0, 6)),
    "county": ((0, 6),),
    "city": ((0, 6),),
}


def features(library: Library) -> Iterator[dict[str, Any]]:
    """Yields an outline and a name of each region as GeoJSON, with tippecanoe's extra members."""
    for region in library.find():
        if region.kind not in FROM:
            continue
        outline = library.geometry(region.code)
        yield _feature(outline, region, "regions", FROM[region.kind])
        zoom = next(zoom for km2, zoom in NAMED[region.kind] if region.km2 >= km2)
        largest = max(shapely.get_parts(outline), key=shapely.area)
        yield _feature(shapely.point_on_surface(largest), region, "names", zoom)


def _feature(shape: shapely.Geometry, region: Region, layer: str, zoom: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": region.kind}
    if layer == "names":
        facts |= {"name": region.name, "size": round(region.km2)}
    return {
        "type": "Feature",
        "tippecanoe": {"layer": layer, "minzoom": zoom},
        "properties": facts,
        "geometry": json.loads(shapely.to_geojson(shape)),
    }


def main() -> int:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".geojsonl", encoding="utf-8") as lines:
        for feature in features(Library.load()):
            lines.write(json.dumps(feature, ensure_ascii=False) + "\n")
        lines.flush()
        command = ["tippecanoe", "-q", "-f", "-o", str(OUT), f"-z{DEEPEST}", "-P", "--detect-shared-borders"]
        command += ["--simplification=12", "--no-feature-limit", "--no-tile-size-limit", "-r1"]
        command += ["-n", "alertd", "-N", "Regions of the world", lines.name]
        subprocess.run(command, check=True)
    sys.stdout.write(f"{OUT}: {OUT.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
