"""How the keys of the store hold values that are sealed under the master key: the column `sealed` of `keys.TABLE`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Fields of an alert that are sealed under the master key: who wrote and who decided outlives the case.
OF_STAFF = ("author", "hands", "approver", "by", "reviewer", "permitted_by")


@dataclass(frozen=True, slots=True)
class Strings:
    """Each key holds one sealed value."""

    head: int = 0  # bytes in front of the sealed value
    bound: Callable[[str], str] = lambda name: name  # to what name a value is bound, by its key


@dataclass(frozen=True, slots=True)
class Fields:
    """Each key is a hash with sealed fields."""

    names: tuple[str, ...] = ()  # none: all
    bound: Callable[[str, str], str] = lambda name, field: f"{name} {field}"


@dataclass(frozen=True, slots=True)
class Passing:
    """Each key is a list of sealed entries that expire within a minute: a rotation waits for that."""


Sealed = Strings | Fields | Passing


def version_bound(name: str, field: str) -> str:
    """The name that a field of an alert is bound to: the alert's id, not its chain's key."""
    return f"{name.rpartition(':')[2]} {field}"


def media_bound(name: str, field: str) -> str:
    """The name that the key of a photo is bound to."""
    assert field == "key"
    return name


def case_bound(name: str) -> str:
    """The name that the key of a case is bound to, also while the case is being purged."""
    return name.removesuffix(":dropped")
