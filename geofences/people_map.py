"""A noisy map of people: estimates how many people an area holds without revealing where a person lives.

The difference of two exact counts can reveal a single household, and noise drawn anew for each answer averages out. So
every estimate is a sum over the leaves of one map, which is built in advance. No number of questions reveals more than
this map.

A leaf is a box without the leaves inside it. A box is one square of the tile pyramid, or two side by side. A leaf holds
at least about `LEAST` people. An estimate adds up the noisy counts of the leaves, each times the share of the leaf's
ground that lies in the area.

A secret key and the name of the leaf determine the noise, so the same people give the same map in every process. A leaf
has one number of noise for all columns and populations, which never changes. So an attacker who registers invented
people until the count has passed many steps cannot average the noise away. Before the noise is added, a count is
rounded to the middle of a step. The key determines where the steps of a leaf begin. One household more or less changes
a count only if it crosses the edge of a step, which an attacker does not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from geofences.scan import BORDER, INSIDE, OUTSIDE, Outline, inside
from geofences.tiles import Codes, deinterleave, interleave, latitude

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Counts = NDArray[np.signedinteger]

#: A box with about this many people becomes a leaf. The outermost leaf, the world, may have fewer.
LEAST = 90
#: Zoom of the smallest square: 200 to 300 m where people live.
FINEST = 17
#: Depth of boxes about 30 km wide. The people of a box who are in no leaf join the largest leaf in the box, so that a town is kept
#: together.
GATHERED = 20
#: Depth of the smallest square. A box of depth d is found by the first d bits of a Morton code: odd depths are two
#: squares.
DEEPEST = 2 * FINEST
#: Standard deviation of the noise of a count, and of the number of people that a square needs to be a leaf.
NOISE, LEAST_NOISE = 12.0, 10.0
#: Width of the steps to which a count is rounded before its noise is added.
STEP = 24
#: Points that are tested to estimate the shares of the leaves on an area's border: about POINTS in total, and at least FEWEST_ALONG and at
#: most MOST_ALONG along one side of a box.
POINTS, FEWEST_ALONG, MOST_ALONG = 16_384, 2, 16
#: Points along one side of a box that distribute its people among regions.
REGION_ALONG = 4
#: Region leaves use these values as depth when they draw noise: a leaf of one region, and a leaf that the small regions
#: inside a region share.
_OF_REGION, _OF_INSIDE = 255, 254
_TILE_SHIFT = 2 * (FINEST - 12)  # from a z12 tile to the squares of the finest level
_AT_SPLIT, _AT_OFFSET, _AT_NOISE = range(3)  # what a drawn number is for


def squares_of(tiles: Codes, x: NDArray[np.uint16], y: NDArray[np.uint16]) -> Words:
    """Returns the Morton code of the finest square (zoom FINEST) that contains each position. `tiles`, `x` and `y` are as `tiles.locate`
    returns them.
    """
    deep = np.zeros(len(x), np.uint64)
    for bit in range(FINEST - 12):
        source = np.uint64(16 - (FINEST - 12) + bit)
        deep |= ((x.astype(np.uint64) >> source) & np.uint64(1)) << np.uint64(2 * bit)
        deep |= ((y.astype(np.uint64) >> source) & np.uint64(1)) << np.uint64(2 * bit + 1)
    return (tiles.astype(np.uint64) << np.uint64(_TILE_SHIFT)) | deep


def summed(codes: Words, counts: Counts) -> tuple[Words, Counts]:
    """Returns the distinct codes in ascending order, and for each code the sum of its rows of counts."""
    if not len(codes):
        return codes, counts
    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], counts[order]
    firsts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    return codes[firsts], np.add.reduceat(counts, firsts, axis=0, dtype=counts.dtype)


class Noise:
    """Draws random numbers from a secret key: always the same for the same leaf, and unpredictable without the key."""

    def __init__(self, key: bytes, population: int) -> None:
        """`key` has 16 or 32 bytes. `population` (0 to 255) distinguishes maps of different people."""
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  one block is one drawn number, not a text
        self._population = population

    def least(self, depths: NDArray[np.uint8], codes: Words, column: int = 0) -> Floats:
        """Returns a random minimum for each square. With `column` 0, it is the number of people that the square needs
        to be a leaf. With another column, it is the count that a leaf needs for a noisy count of its own in that
        column.
        """
        return LEAST + LEAST_NOISE * self._normal(self._drawn(_AT_SPLIT, depths, codes, column + 1))[:, column]

    def noisy(self, depths: NDArray[np.uint8], codes: Words, counts: Counts) -> Floats:
        """Returns the counts, shape (leaves, columns), rounded to a step, with noise added. They may be negative."""
        offsets = self._uniform(self._drawn(_AT_OFFSET, depths, codes, counts.shape[1]))
        offsets = np.floor(offsets * STEP).astype(np.int64)
        steps = (counts + offsets) // STEP
        middles = steps * STEP - offsets + (STEP - 1) / 2
        return middles + NOISE * self._normal(self._drawn(_AT_NOISE, depths, codes, 1))

    def _drawn(self, purpose: int, depths: NDArray[np.uint8], codes: Words, columns: int) -> Words:
        """Returns two random words for each leaf and column, shape (leaves, columns, 2): the encrypted block of their name."""
        shape = (len(codes), columns)
        blocks = np.zeros(
            shape, [("population", "u1"), ("purpose", "u1"), ("depth", "u1"), ("column", "u1"), ("unused", "<u4"), ("code", "<u8")]
        )  # fmt: skip
        blocks["population"], blocks["purpose"] = 0 if purpose == _AT_NOISE else self._population, purpose
        blocks["depth"], blocks["code"] = depths[:, None], codes[:, None]
        blocks["column"] = np.arange(columns)
        words = np.frombuffer(self._cipher.encryptor().update(blocks.tobytes()), "<u8")
        return words.reshape(*shape, 2)

    @staticmethod
    def _uniform(words: Words) -> Floats:
        """Returns numbers from 0 (included) to 1 (excluded), one for each pair of words."""
        result: Floats = (words[..., 0] >> np.uint64(11)) / float(1 << 53)
        return result

    @staticmethod
    def _normal(words: Words) -> Floats:
        """Returns normally distributed numbers with standard deviation 1, one for each pair of words (Box and Muller)."""
        first, second = ((words[..., i] >> np.uint64(11)) + 0.5 for i in (0, 1))
        scale = float(1 << 53)
        result: Floats = np.sqrt(-2 * np.log(first / scale)) * np.cos(2 * math.pi * second / scale)
        return result


@dataclass(frozen=True, kw_only=True)
class Leaves:
    """The leaves of a map of people: boxes. A leaf does not count the people of smaller leaves inside it. Immutable: threads may share it."""

    depths: NDArray[np.uint8]
    codes: Words  # Morton codes at their zooms; in the order of the finest squares, outer leaves first
    counts: Floats  # noisy, shape (leaves, columns)

    @classmethod
    def build(cls, squares: Words, counts: Counts, noise: Noise) -> Leaves:
        """Returns the leaves for counts by finest square (ascending, each once).

        `counts` has the shape (squares, columns); the first column counts people. From the deepest level up, a box becomes a leaf once it
        has enough people outside the leaves below it. At the depth GATHERED, the few people beside a leaf join that leaf. Otherwise those
        of a lone town would go to a leaf as large as a country.
        """
        depths, codes, exact = list[NDArray[np.uint8]](), list[Words](), list[Counts]()
        for depth in range(DEEPEST, -1, -1):
            if depth < DEEPEST:
                squares, counts = summed(squares >> np.uint64(1), counts)
            if depth == 0 and not len(squares):
                squares, counts = np.zeros(1, np.uint64), np.zeros((1, counts.shape[1]), np.int64)
            level = np.full(len(squares), depth, np.uint8)
            chosen = (counts[:, 0] >= noise.least(level, squares)) | (depth == 0)
            depths.append(level[chosen])
            codes.append(squares[chosen])
            exact.append(counts[chosen])
            squares, counts = squares[~chosen], counts[~chosen]
            if depth == GATHERED:
                exact = [np.concatenate(exact)]
                joined = _joined(squares, counts, np.concatenate(depths), np.concatenate(codes), exact[0])
                squares, counts = squares[~joined], counts[~joined]
        depth_of, code_of = np.concatenate(depths), np.concatenate(codes)
        order = np.lexsort((depth_of, _start(depth_of, code_of)))
        bare = cls(depths=depth_of[order], codes=code_of[order], counts=np.empty((len(order), 0)))
        return replace(bare, counts=bare._noisy(np.concatenate(exact)[order], noise))

    def _noisy(self, exact: Counts, noise: Noise) -> Floats:
        """Returns the counts of the leaves with noise, shape (leaves, columns).

        If a leaf has few people in a column, the leaf and the leaves around it are counted together, and the count is divided among them by
        their people. Otherwise the noise of many leaves would exceed the number of people with a rare channel.
        """
        people = noise.noisy(self.depths, self.codes, exact[:, :1])[:, 0]
        columns = [people]
        for column in range(1, exact.shape[1]):
            together, head = self._together(exact[:, column].copy(), noise.least(self.depths, self.codes, column))
            sums = np.zeros((*together.shape, exact.shape[1]), np.int64)
            sums[:, column] = together
            total = noise.noisy(self.depths, self.codes, sums)[:, column]
            weight = np.maximum(people, 1)
            columns.append(total[head] * weight / np.bincount(head, weight, len(head))[head])
        return np.column_stack(columns)

    def _together(self, counts: NDArray[np.int64], least: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Merges leaves with too few people of a column into the leaf around them. Returns the merged counts, and for each leaf the index
        of the leaf that counts for it.
        """
        head = np.arange(len(self))
        for depth in range(DEEPEST, 0, -1):
            few = np.flatnonzero((self.depths == depth) & (counts < least))
            np.add.at(counts, self._outer[few], counts[few])
            head[few] = self._outer[few]
        for depth in range(1, DEEPEST + 1):
            of_depth = self.depths == depth
            head[of_depth] = head[head[of_depth]]
        return counts, head

    def __len__(self) -> int:
        return len(self.codes)

    def shares(self, area: shapely.MultiPolygon, outline: Outline) -> Floats:
        """Returns the share (0 to 1) of each leaf's ground that lies in an area. Prepares the area in place, so no other thread may use it
        meanwhile.
        """
        shares = np.zeros(len(self), np.float64)
        west, south, east, north = shapely.bounds(area)
        near = np.flatnonzero(
            (self._edges[0] <= east) & (self._edges[2] >= west) & (self._edges[1] <= north) & (self._edges[3] >= south)
        )
        depths, verdicts = self.depths[near], np.full(len(near), OUTSIDE, np.uint8)
        for depth in np.unique(depths).tolist():
            of_depth = np.flatnonzero(depths == depth)
            squares, codes = outline.at((depth + 1) // 2), self.codes[near[of_depth]]
            if depth % 2 == 0:
                verdicts[of_depth] = squares.verdicts(*deinterleave(codes))
            else:  # a box of two squares
                halves = (codes << np.uint64(1) | np.uint64(i) for i in (0, 1))
                left, right = (squares.verdicts(*deinterleave(half)) for half in halves)
                verdicts[of_depth] = np.where(left == right, left, BORDER)
        shares[near[verdicts == INSIDE]] = 1
        border = near[verdicts == BORDER]
        if len(border):
            along = min(max(math.isqrt(POINTS // len(border)), FEWEST_ALONG), MOST_ALONG)
            lon, lat, own = self.points(border, along)
            within = inside(area, lon.ravel(), lat.ravel()).reshape(lon.shape)
            own |= ~own.any(
                axis=1, keepdims=True
            )  # a leaf between its inner leaves that no point hits: as if it had none
            shares[border] = (within & own).sum(axis=1) / own.sum(axis=1)
        return shares

    def points(self, leaves: NDArray[np.int64], along: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Returns a grid of points over the box of each leaf, shape (leaves, along * along): longitudes and latitudes in degrees, and
        whether each point belongs to the leaf and to no leaf inside it.
        """
        west, top, width, height = (side[:, None] for side in _box(self.depths[leaves], self.codes[leaves]))
        steps = (np.arange(along) + 0.5) / along
        east, down = west + np.tile(steps, along) * width, top + np.repeat(steps, along) * height
        side = 1 << FINEST
        squares = interleave((east * side).astype(np.uint64), (down * side).astype(np.uint64))
        innermost = np.searchsorted(self._starts, squares, side="right") - 1
        while (beyond := self._ends[innermost] <= squares).any():
            innermost = np.where(beyond, self._outer[innermost], innermost)
        return east * 360 - 180, latitude(down), innermost == leaves[:, None]

    @cached_property
    def _starts(self) -> Words:
        return _start(self.depths, self.codes)

    @cached_property
    def _ends(self) -> Words:
        return _start(self.depths, self.codes + np.uint64(1))

    @cached_property
    def _outer(self) -> NDArray[np.int64]:
        """Returns for each leaf the index of the leaf around it. The outermost leaf, the world, has its own index."""
        outer, around, ends = np.zeros(len(self), np.int64), [0], self._ends.tolist()
        for i, start in enumerate(self._starts.tolist()):
            while i and ends[around[-1]] <= start:
                around.pop()
            outer[i] = around[-1]
            around.append(i)
        return outer

    @cached_property
    def _edges(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Returns the west, south, east and north edge of each box, in degrees."""
        west, top, width, height = _box(self.depths, self.codes)
        return west * 360 - 180, latitude(top + height), (west + width) * 360 - 180, latitude(top)


@dataclass(frozen=True, kw_only=True)
class RegionLeaves:
    """The leaves for subscribers who named a region instead of a point.

    One kind of leaf counts the subscribers who named one region. The second kind counts those of all regions inside a region that have too
    few for leaves of their own.
    """

    numbers: NDArray[np.uint32]  # of regions; a region may have both leaves
    counts: Floats  # noisy, shape (leaves, columns)
    is_whole: NDArray[np.bool_]  # the subscribers of the leaf named this region itself, or it has no regions inside

    @classmethod
    def build(cls, numbers: Words, counts: Counts, parents: Mapping[int, int], noise: Noise) -> RegionLeaves:
        """Returns the leaves for counts of people by region number. If a region has too few people, they join those of
        the small regions inside it. These get a leaf together or, if still too few, join those of the region around it.

        `parents` maps each region to the region around it (0 at the top), wide regions before narrow ones.
        """
        named = {int(number): row for number, row in zip(numbers, counts, strict=True)}
        gathered, chosen = dict[int, Counts](), list[tuple[int, int, Counts]]()
        for number, parent in reversed(tuple(parents.items())):
            if not named and not gathered:
                break
            if number not in named and number not in gathered:
                continue  # most of the thousands of regions
            name = np.array([number], np.uint64)
            for depth, held in ((_OF_REGION, named), (_OF_INSIDE, gathered)):
                if (people := held.pop(number, None)) is None:
                    continue
                is_last = depth == _OF_INSIDE and not parent
                if is_last or people[0] >= noise.least(np.array([depth], np.uint8), name)[0]:
                    chosen.append((number, depth, people))
                else:
                    around = parent if depth == _OF_INSIDE else number
                    gathered[around] = gathered.get(around, 0) + people
        leaves = np.array([number for number, _, _ in chosen], np.uint32)
        depths = np.array([depth for _, depth, _ in chosen], np.uint8)
        exact = np.array([row for _, _, row in chosen], np.int64).reshape(len(chosen), counts.shape[1])
        noisy = noise.noisy(depths, leaves.astype(np.uint64), exact)
        is_innermost = ~np.isin(leaves, list(parents.values()))
        return cls(numbers=leaves, counts=noisy, is_whole=(depths == _OF_REGION) | is_innermost)

    def shares(self, told: Iterable[int], touched: Mapping[int, float]) -> Floats:
        """Returns which share of each leaf's people an area reaches (0 to 1).

        `told`: numbers of the regions whose subscribers are all notified. `touched`: the share of each region that lies
        in the area, by number. Assumes that the people in a leaf of several small regions are spread evenly over it.
        """
        notified = np.isin(self.numbers, np.fromiter(told, np.uint32))
        ground = np.array([touched.get(int(number), 0.0) for number in self.numbers], np.float64)
        return np.where(self.is_whole, notified.astype(np.float64), ground)


def _joined(
    squares: Words, counts: Counts, depths: NDArray[np.uint8], codes: Words, exact: Counts
) -> NDArray[np.bool_]:
    """Adds the counts of each box of depth GATHERED (`squares`, ascending, with `counts`) to the leaf in the box that
    has the most people. Changes `exact`, the counts of the leaves (`depths`, `codes`). Returns for each box whether it
    has a leaf.
    """
    around = codes >> (depths.astype(np.int64) - GATHERED).astype(np.uint64)
    order = np.lexsort((-exact[:, 0], around))
    largest = order[np.flatnonzero(np.r_[True, np.diff(around[order]) != 0][: len(order)])]
    at = np.searchsorted(around[largest], squares)
    found = at < len(largest)
    found[found] = around[largest[at[found]]] == squares[found]
    exact[largest[at[found]]] += counts[found]
    return found


def _start(depths: NDArray[np.uint8], codes: Words) -> Words:
    """Returns the code of the first finest square in each box."""
    return codes << (DEEPEST - depths.astype(np.int64)).astype(np.uint64)


def _box(depths: NDArray[np.uint8], codes: Words) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns the west edge, top edge, width and height of each box, as shares of the side of the map of the world."""
    odd = depths.astype(np.int64) & 1
    columns, rows = deinterleave(codes << odd.astype(np.uint64))
    side = np.ldexp(1.0, -(depths.astype(np.int64) + odd) // 2)
    return columns * side, rows * side, side * (1 + odd), side
