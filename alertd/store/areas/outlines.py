"""The outlines of areas that were asked for last: by whoever draws one, at its approval, ring by ring, by one alert after another."""

from __future__ import annotations

from collections import OrderedDict

from geofences.scan import Outline

#: So many, of so many bytes in all, of each process. With all levels that are asked for, a city has 4 to 20 kB, Spain 450, Canada 8 MB.
MOST, MOST_BYTES = 256, 16_000_000


class Outlines:
    """Outlines by the shapes of their areas. They grow with the levels that they are asked for."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept = OrderedDict[bytes, tuple[Outline, int]]()  # with the bytes that it had then
        self._bytes = 0

    def get(self, shape: bytes) -> Outline | None:
        """The outline of a shape, if it is kept. Any thread may ask."""
        one = self._kept.get(shape)
        return one[0] if one else None

    def keep(self, shape: bytes, outline: Outline) -> None:
        """As the one asked for last, from the event loop. One that alone is larger than all may be is not kept."""
        self._bytes -= self._kept.pop(shape, (None, 0))[1]
        size = outline.nbytes
        if size > self._most_bytes:
            return
        self._kept[shape] = outline, size
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]
