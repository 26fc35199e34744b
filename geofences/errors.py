"""The exceptions of this package: faults of a target, a region or a region file. Each says in a sentence what to do.

* GeofenceError
  * TargetFault: one fault; `pointer` is a JSON pointer relative to the target
    * InvalidGeometry: a polygon or circle that is no area
      * TooManyVertices
    * UnknownRegion: a code that the library does not have, with the most similar codes
    * EmptyArea: the target names nothing, or the exclusions leave nothing
  * TargetErrors: all faults of one target at once
  * LibraryError: a region file that cannot be read or would be inconsistent
    * `importing.FaultyFileError`: single features of a file cannot be regions
"""

from __future__ import annotations


class GeofenceError(ValueError):
    """Base of all exceptions that this package raises on purpose."""


class TargetFault(GeofenceError):  # noqa: N818  a fault is told beside its siblings, seldom alone
    """One fault of a target: `pointer` says where (a JSON pointer relative to the target), `why` what to do."""

    def __init__(self, pointer: str, why: str) -> None:
        super().__init__(why)
        self.pointer = pointer
        self.why = why


class InvalidGeometry(TargetFault):
    """A polygon or circle from which no area can be made."""


class TooManyVertices(InvalidGeometry):
    """More vertices than can be validated in a reasonable time."""

    def __init__(self, pointer: str, count: int, limit: int) -> None:
        super().__init__(pointer, f"{count:,} vertices; at most {limit:,} are taken. Simplify the outline first.")


class UnknownRegion(TargetFault):
    """A region code that is not in the library. `nearest` are similar codes, the most similar first."""

    def __init__(self, pointer: str, code: str, nearest: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> None:
        offers = [f"{near} ({name})" for near, name in zip(nearest, names, strict=True)] if names else list(nearest)
        hint = f"Did you mean {' or '.join(offers)}?" if offers else "Search the regions by name to find its code."
        super().__init__(pointer, f"No region has the code {code!r}. {hint}")
        self.code = code
        self.nearest = nearest

    def at(self, pointer: str) -> UnknownRegion:
        """Returns the same fault with another pointer."""
        moved = UnknownRegion(pointer, self.code, self.nearest)
        moved.why, moved.args = self.why, self.args
        return moved


class EmptyArea(TargetFault):
    """A target without any area: nothing was requested, or the exclusions remove everything."""


class TargetErrors(GeofenceError):  # noqa: N818  it holds many
    """All faults of one target, in the order of the target's members."""

    def __init__(self, errors: tuple[TargetFault, ...]) -> None:
        super().__init__("; ".join(f"{error.pointer or 'target'}: {error.why}" for error in errors))
        self.errors = errors


class LibraryError(GeofenceError):
    """A region file cannot be read, or its regions contradict each other."""
