#!/usr/bin/env python3
"""Draws the pictures of geofences/README.md: the areas of targets, by the functions that find people for alerts.

ops/geofence_pictures.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import radians
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from shapely import affinity

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from geofences import scan, tiles  # noqa: E402  beside this script
from geofences.circles import Circle  # noqa: E402
from geofences.regions import Library  # noqa: E402
from geofences.targets import Target, resolve, ring_areas  # noqa: E402

Floats = NDArray[np.float64]
Colour = tuple[int, int, int, int]

WIDTH, HEIGHT, FINER = 960, 600, 3
SEA, LAND, COAST = (221, 232, 240, 255), (248, 245, 238, 255), (190, 184, 172, 255)
BLUE, DEEP, ORANGE, GREY, INK = (
    (31, 95, 191, 70), (31, 95, 191, 255), (217, 95, 2, 255), (120, 120, 120, 255), (28, 31, 35, 255)
)  # fmt: skip


@dataclass(frozen=True)
class View:
    """A Web Mercator map: the longitudes of its sides, and the latitude of its centre."""

    west: float
    east: float
    lat: float

    @property
    def scale(self) -> float:
        return WIDTH * FINER / radians(self.east - self.west)

    def pixels(self, lon_lat: Floats) -> list[tuple[float, float]]:
        x = (np.radians(lon_lat[:, 0]) - radians(self.west)) * self.scale
        middle = np.arctanh(np.sin(radians(self.lat)))
        y = HEIGHT * FINER / 2 - (np.arctanh(np.sin(np.radians(lon_lat[:, 1]))) - middle) * self.scale
        return list(zip(x.tolist(), y.tolist(), strict=True))

    def turns(self, shape: shapely.Geometry) -> Iterator[shapely.Geometry]:
        """Draws a shape at each visible place: longitude -179 also lies east of 180."""
        frame = shapely.box(self.west, -85, self.east, 85)
        for turn in (-360, 0, 360):
            yield shapely.intersection(affinity.translate(shape, xoff=turn), frame)


class Picture:
    """Layers on a map, the latest on top."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._image = Image.new("RGBA", (WIDTH * FINER, HEIGHT * FINER), SEA)

    def shape(
        self, shape: shapely.Geometry, fill: Colour | None, line: Colour | None = None, width: float = 1.5
    ) -> None:
        layer = Image.new("RGBA", self._image.size)
        draw = ImageDraw.Draw(layer)
        for seen in self._view.turns(shape):
            for part in shapely.get_parts(seen):
                if part.geom_type == "Polygon" and not part.is_empty:
                    self._polygon(draw, part, fill, line, width)
        self._image.alpha_composite(layer)

    def _polygon(
        self, draw: ImageDraw.ImageDraw, part: shapely.Polygon, fill: Colour | None, line: Colour | None, width: float
    ) -> None:
        rings = [self._view.pixels(shapely.get_coordinates(ring)) for ring in (part.exterior, *part.interiors)]
        if fill:
            draw.polygon(rings[0], fill=fill)
            for hole in rings[1:]:
                draw.polygon(hole, fill=(0, 0, 0, 0))
        for ring in rings if line else ():
            draw.line(ring, fill=line, width=int(width * FINER), joint="curve")

    def dots(self, lon_lat: Floats, colour: Colour, radius: float = 2.5) -> None:
        draw, r = ImageDraw.Draw(self._image), radius * FINER
        for x, y in self._view.pixels(lon_lat):
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def line(self, lon_lat: Floats, colour: Colour, width: float = 1.5) -> None:
        ImageDraw.Draw(self._image).line(self._view.pixels(lon_lat), fill=colour, width=int(width * FINER))

    def name(self, lon: float, lat: float, text: str, colour: Colour = INK, size: int = 17, dx: int = 9) -> None:
        (x, y), draw = self._view.pixels(np.array([[lon, lat]]))[0], ImageDraw.Draw(self._image)
        font = ImageFont.load_default(size * FINER)
        draw.text(
            (x + dx * FINER, y), text, fill=colour, font=font, anchor="lm", stroke_width=3 * FINER, stroke_fill=LAND
        )

    def legend(self, entries: Sequence[tuple[Colour, str]]) -> None:
        draw, font = ImageDraw.Draw(self._image), ImageFont.load_default(17 * FINER)
        wide = max(draw.textlength(text, font=font) for _, text in entries)
        draw.rectangle((0, 0, wide + 62 * FINER, (len(entries) * 28 + 20) * FINER), fill=(255, 255, 255, 255))
        for i, (colour, text) in enumerate(entries):
            y = (24 + 28 * i) * FINER
            draw.rectangle((16 * FINER, y - 8 * FINER, 32 * FINER, y + 8 * FINER), fill=colour)
            draw.text((44 * FINER, y), text, fill=INK, font=font, anchor="lm")

    def save(self, path: Path) -> None:
        small = self._image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        small.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def fiji(library: Library) -> Picture:
    """A ring from 177 to 182 and the islands in it."""
    picture = Picture(View(174.5, 184.5, -17.3))
    picture.shape(library.geometry("FJ"), LAND, COAST)
    ring = [[176.6, -19.4], [182, -19.4], [182, -15.5], [176.6, -15.5]]
    picture.shape(resolve(Target(polygons=(ring,)), library).geometry, BLUE, DEEP, 2.5)
    picture.line(np.array([[180.0, -21.0], [180.0, -13.0]]), GREY)
    picture.name(180, -20.1, "180", GREY, dx=6)
    for lon, lat, town in (
        (178.44, -18.14, "Suva"), (177.45, -17.80, "Nadi"), (179.38, -16.43, "Labasa"), (180.03, -16.83, "Taveuni"),
        (181.22, -18.23, "Lakeba"),
    ):  # fmt: skip
        picture.dots(np.array([[lon, lat]]), ORANGE, 5)
        picture.name(lon, lat, town)
    picture.legend([(DEEP, "the area of a ring from 176.6 to 182"), (ORANGE, "told")])
    return picture


SANTA_JUSTA = (-5.9756, 37.3919)


def rings(library: Library) -> Picture:
    """Two rings around a station, the tiles that the search reads, and the people notified at each time."""
    picture = Picture(View(-6.72, -5.23, 37.40))
    seen = {region.code for region, _ in library.overlapping(shapely.box(-6.8, 36.8, -5.1, 37.95))}
    towns = [region for region in library.regions if region.code in seen and region.kind == "city"]
    for town in towns:
        picture.shape(library.geometry(town.code), LAND, (222, 216, 204, 255), 1)
    target = Target(rings=tuple(Circle(lon_lat=SANTA_JUSTA, radius_km=km) for km in (5, 30)))
    area = resolve(target, library).geometry
    codes = np.arange(tiles.TILES, dtype=np.uint32)
    verdicts = scan.Outline(area).at(tiles.ZOOM).verdicts(*tiles.deinterleave(codes))
    for verdict, fill in ((scan.INSIDE, (31, 95, 191, 46)), (scan.BORDER, (217, 95, 2, 40))):
        for box in shapely.box(*tiles.bounds(codes[verdicts == verdict], tiles.ZOOM)):
            picture.shape(box, fill, (255, 255, 255, 130), 0.7)
    near, far = ring_areas(target, area)
    people = _people([library.geometry(town.code) for town in towns])
    in_near, in_far = (shapely.intersects_xy(ground, *people.T) for ground in (near, far))
    picture.dots(people[~in_far], GREY)
    picture.dots(people[in_far & ~in_near], DEEP)
    picture.dots(people[in_near], ORANGE)
    picture.shape(far, None, DEEP, 2.5)
    picture.shape(near, None, ORANGE, 2.5)
    picture.legend(
        [
            (ORANGE, "5 km: loud, at once"),
            (DEEP, "30 km: after 15 minutes"),
            (GREY, "not told"),
            ((190, 205, 226, 255), "tiles inside: no point is tested"),
            ((243, 218, 199, 255), "tiles on the border"),
        ]
    )
    return picture


def _people(shapes: Sequence[shapely.Geometry]) -> Floats:
    """Random people around the centre of each town, the same at each run."""
    chance = np.random.default_rng(4)
    middles = shapely.get_coordinates(shapely.point_on_surface(np.array(shapes, dtype=object)))
    spread = np.concatenate([middles + chance.normal(0, 0.022, middles.shape) for _ in range(7)])
    city = chance.normal(0, 0.035, (160, 2)) * (1.2, 1) + SANTA_JUSTA
    return np.concatenate([spread, city])


def tromso(library: Library) -> Picture:
    """A buffer of 60 km at 70 degrees north, compared with a buffer in degrees."""
    picture = Picture(View(13.2, 25.6, 69.55))
    for region in library.regions:
        if region.country in {"NO", "SE", "FI"} and region.parent in {"NO", "SE", "FI"}:
            picture.shape(library.geometry(region.code), LAND, (222, 216, 204, 255), 1)
    ring = [[18.3, 69.45], [19.6, 69.45], [19.9, 69.75], [18.9, 69.95], [18.1, 69.7]]
    plain = resolve(Target(polygons=(ring,)), library).geometry
    picture.shape(resolve(Target(polygons=(ring,), buffer_km=60), library).geometry, BLUE, DEEP, 2.5)
    picture.shape(shapely.buffer(plain, 60 / 111.2), None, ORANGE, 2.5)
    picture.shape(plain, (31, 95, 191, 110), DEEP, 2)
    for lon, lat, town in (
        (18.99, 69.65, "Tromsdalen"), (17.43, 68.44, "Narvik"), (20.94, 69.25, "Skibotn"), (17.98, 69.23, "Finnsnes"),
        (23.27, 69.97, "Alta"), (16.54, 68.80, "Harstad"),
    ):  # fmt: skip
        picture.dots(np.array([[lon, lat]]), INK, 4)
        picture.name(lon, lat, town)
    picture.legend([(DEEP, "drawn, and 60 km on the ground"), (ORANGE, "the same in degrees: too narrow")])
    return picture


def main() -> None:
    """Draws all pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pictures"
    library = Library.load()
    for name, draw in (("fiji", fiji), ("rings", rings), ("buffer", tromso)):
        draw(library).save(folder / f"geofence-{name}.png")
        print(folder / f"geofence-{name}.png")


if __name__ == "__main__":
    main()
