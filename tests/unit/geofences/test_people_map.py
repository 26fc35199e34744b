"""The noisy map of people: close enough to decide by, and nothing in it tells where somebody lives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import shapely
import shapely.affinity
from numpy.typing import NDArray

from alertd.runtime import sample_people
from geofences.people_map import DEEPEST, LEAST, LEAST_NOISE, Leaves, Noise, RegionLeaves, squares_of, summed
from geofences.scan import Outline
from geofences.tiles import locate
from tests.sampling import sampled

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
PEOPLE = 100_000
Points = NDArray[np.float64]


@cache
def sample() -> Points:
    """Longitude and latitude of people around real towns, shape (people, 2)."""
    return np.array([(one.lon, one.lat) for one in sample_people.people(PEOPLE)])


def leaves_of(points: Points, key: bytes = KEY, *columns: NDArray[np.int64], population: int = 0) -> Leaves:
    tiles, x, y = locate(points[:, 0], points[:, 1])
    counts = np.column_stack([np.ones(len(points), np.int64), *columns])
    return Leaves.build(*summed(squares_of(tiles, x, y), counts), Noise(key, population))


def estimate(leaves: Leaves, area: shapely.MultiPolygon, column: int = 0) -> float:
    return float(leaves.shares(area, Outline(area)) @ leaves.counts[:, column])


def circle(lon: float, lat: float, km: float) -> shapely.MultiPolygon:
    round_ = shapely.Point(lon, lat).buffer(km / 111.3, 32)
    return shapely.MultiPolygon([shapely.affinity.scale(round_, 1 / np.cos(np.radians(lat)), 1)])


def inside(points: Points, area: shapely.MultiPolygon) -> int:
    return int(shapely.intersects_xy(area, points[:, 0], points[:, 1]).sum())


def areas_with(points: Points, people: int, count: int) -> list[shapely.MultiPolygon]:
    """Circles with about so many people, around places where people live; none is smaller than an alert's area may be."""
    draw, found = np.random.default_rng(people), []
    while len(found) < count:
        lon, lat = points[draw.integers(len(points))] + draw.normal(scale=0.01, size=2)
        km = np.sort(np.hypot((points[:, 0] - lon) * np.cos(np.radians(lat)), points[:, 1] - lat) * 111.3)[people]
        if 0.26 < km < 100:
            found.append(circle(lon, lat, km + 1e-4))
    return found


@pytest.mark.parametrize(
    ("people", "most"),
    sampled([(100, 0.25), (500, 0.10), (1_000, 0.10), (5_000, 0.05)], lambda people, _most: people in {100, 5_000}),
)
def test_the_median_error_of_an_estimate_is_small(people: int, most: float):
    leaves, points = leaves_of(sample()), sample()
    errors = [
        abs(estimate(leaves, area) - exact) / exact
        for area in areas_with(points, people, 200)
        for exact in [inside(points, area)]
    ]
    assert np.median(errors) <= most


def test_every_leaf_but_the_world_holds_about_a_hundred_people():
    points = sample()[:20_000]
    leaves = leaves_of(points)
    tiles, x, y = locate(points[:, 0], points[:, 1])
    squares = squares_of(tiles, x, y)
    within = np.array([
        ((squares >= start) & (squares < end)).sum() for start, end in zip(leaves._starts, leaves._ends, strict=True)
    ])  # fmt: skip
    own = within - np.bincount(leaves._outer[1:], within[1:], len(leaves)).astype(int)
    assert own[1:].min() >= LEAST - 4 * LEAST_NOISE
    assert own.sum() == len(points)


def test_equal_people_give_an_equal_map_and_another_key_gives_other_noise():
    first, again, other = (leaves_of(sample()[:5_000], key) for key in (KEY, KEY, OTHER_KEY))
    assert (first.counts == again.counts).all()
    assert (first.codes == again.codes).all()
    assert abs(first.counts.sum() - 5_000) < 500
    assert first.counts.shape != other.counts.shape or (first.counts != other.counts).any()


def test_a_channel_that_few_use_has_few_addresses_in_the_estimate_of_a_country():
    points = sample()
    rare = np.zeros(len(points), np.int64)
    rare[:1_000] = 1
    leaves = leaves_of(points, KEY, rare, np.zeros(len(points), np.int64))
    country = circle(-4, 40, 800)
    exact = int(shapely.intersects_xy(country, points[:1_000, 0], points[:1_000, 1]).sum())
    assert abs(estimate(leaves, country, 1) - exact) < 0.15 * exact
    assert abs(estimate(leaves, country, 2)) < 100


def test_one_household_more_or_less_mostly_changes_nothing():
    points, draw = sample()[:10_000], np.random.default_rng(4)
    whole = leaves_of(points)
    changed = 0
    for left in draw.choice(len(points), 40, replace=False):
        without = leaves_of(np.delete(points, left, axis=0))
        changed += without.counts.shape != whole.counts.shape or bool((without.counts != whole.counts).any())
    assert changed <= 8  # in one of 24 the count of the leaf crosses a step


def notched(area: shapely.MultiPolygon, home: Points) -> shapely.MultiPolygon:
    """The area without a narrow strip from a home outwards."""
    lon, lat = home
    strip = shapely.box(lon - 0.0003, lat - 0.0003, lon + 1, lat + 0.0003)
    return shapely.MultiPolygon([one for one in shapely.get_parts(area.difference(strip)) if one.area > 0])


def without(area: shapely.MultiPolygon, km: float, home: Points) -> shapely.MultiPolygon:
    return shapely.MultiPolygon(list(shapely.get_parts(area.difference(circle(*home, km)))))


@pytest.mark.parametrize("residents", sampled([(1,), (4,)], lambda residents: residents == 4))
def test_the_difference_of_two_estimates_does_not_tell_whether_somebody_lives_at_a_home(residents: int):
    """Holes of three sizes, a notch, a ring, another channel and another kind of alert, at 300 homes of which half have residents. The
    attacker may choose, knowing all homes, the limit from which a difference says that somebody lives there.
    """
    points, draw = sample()[:30_000], np.random.default_rng(residents)
    homes = points[draw.choice(len(points), 300, replace=False)] + draw.normal(scale=0.01, size=(300, 2))
    lived_in = draw.permutation(np.arange(300) < 150)
    people = np.concatenate([points, np.repeat(homes[lived_in], residents, axis=0)])
    maps = [leaves_of(people, KEY, np.ones(len(people), np.int64), population=kind) for kind in (0, 1)]
    differences = np.empty((300, 6, 2))
    for at, home in enumerate(homes):
        area = circle(*home, 3)
        others = [without(area, km, home) for km in (0.03, 0.1, 0.3)] + [
            notched(area, home),
            circle(*home, 0.1),
            circle(*home, 0.3),
        ]
        outline, outlines = Outline(area), [Outline(other) for other in others]
        for column, leaves in enumerate(maps):
            whole = leaves.shares(area, outline)
            for attack, (other, its_outline) in enumerate(zip(others, outlines, strict=True)):
                change = (whole - leaves.shares(other, its_outline)) @ leaves.counts
                differences[at, attack, column] = change.sum() if attack < 4 else -change.sum()
    for guess in (*differences.reshape(300, -1).T, differences.mean(axis=(1, 2))):
        assert best_guess(guess, lived_in) <= 0.60


@pytest.mark.parametrize("residents", [1, 4])
def test_invented_people_do_not_average_the_noise_away(residents: int):
    """Somebody registers more and more people in the smallest square of each of 1,000 homes, half of which have residents, and asks after
    every six for all channels and kinds of alert.
    """
    homes, invented = np.arange(1_000, dtype=np.uint64), np.arange(200, 985, 6)
    lived_in = np.random.default_rng(residents).permutation(homes < 500)
    people = np.where(lived_in, residents, 0)
    depths = np.full(len(homes), DEEPEST, np.uint8)
    total = np.zeros(len(homes))
    for kind in (0, 1):
        noise = Noise(KEY, kind)
        for more in invented:
            counts = np.repeat(people[:, None] + more, 4, axis=1)
            total += (noise.noisy(depths, homes, counts) - more).mean(axis=1)
    assert best_guess(total, lived_in) <= 0.60


def best_guess(differences: NDArray[np.float64], lived_in: NDArray[np.bool_]) -> float:
    """How many homes are told right by the best limit of a difference, fitted on one half of the homes and tried on the other."""
    half = len(differences) // 2
    limits = np.unique(differences[:half])
    fits = [((differences[:half] > limit) == lived_in[:half]).mean() for limit in limits]
    return float(((differences[half:] > limits[int(np.argmax(fits))]) == lived_in[half:]).mean())


def test_a_region_with_few_people_adds_them_to_the_region_around_it():
    numbers, counts = np.array([2, 3, 4], np.uint64), np.array([[300, 300], [20, 0], [15, 1]], np.int64)
    leaves = RegionLeaves.build(numbers, counts, {1: 0, 2: 1, 3: 1, 4: 1}, Noise(KEY, 0))
    assert sorted(leaves.numbers.tolist()) == [1, 2]
    of = dict(zip(leaves.numbers.tolist(), leaves.counts[:, 0].tolist(), strict=True))
    assert abs(of[2] - 300) < 75
    assert abs(of[1] - 35) < 75
    shares = dict(zip(leaves.numbers.tolist(), leaves.shares([2, 1], {1: 0.2, 2: 0.9}).tolist(), strict=True))
    assert shares == {1: 0.2, 2: 1.0}


def test_people_who_named_a_wide_region_count_with_it_and_those_of_its_small_regions_by_ground():
    """An alert to a village notifies nobody who named the country, and an alert to enough of the country notifies all of them."""
    numbers, counts = np.array([1, 2, 3], np.uint64), np.array([[300], [40], [35]], np.int64)
    leaves = RegionLeaves.build(numbers, counts, {1: 0, 2: 1, 3: 1}, Noise(KEY, 0))
    own = leaves.is_whole
    assert leaves.numbers.tolist() == [1, 1]
    assert abs(leaves.counts[own, 0].sum() - 300) < 75
    assert abs(leaves.counts[~own, 0].sum() - 75) < 75
    assert leaves.shares([], {1: 0.01})[own].tolist() == [0]
    assert leaves.shares([1], {1: 0.2})[own].tolist() == [1]
    assert leaves.shares([1], {1: 0.2})[~own].tolist() == [0.2]


@pytest.mark.parametrize("people", [120, 150, 330, 400])
def test_a_lone_town_keeps_its_people(people: int):
    town = np.array([4.0, 45.0]) + np.random.default_rng(people).normal(scale=0.005, size=(people, 2))
    errors = [abs(estimate(leaves_of(town, bytes([i]) * 32), circle(4, 45, 5)) - people) for i in range(20)]
    assert np.median(errors) <= 0.25 * people
