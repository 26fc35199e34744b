"""Values under hashed names. While a name key is joining, a value is under the old or the new name.

Every command looks at both names in one step and works on the value that it finds, so processes may prefer different names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alertd.store.engine.connection import Arg, Connection

KeyOf = Callable[[str], str]
Call = tuple[str, list[str], list[Arg]]


def names_of(connection: Connection, key_of: KeyOf, hashed: str) -> list[str]:
    """The keys of the store for what belongs to a hashed name, as scripts take them."""
    return [key_of(name) for name in connection.codec.names.stored(hashed)]


def named(connection: Connection, key_of: KeyOf, hashed: str, command: str, *args: Arg) -> Call:
    """A plain command on what belongs to a hashed name, as a call of a script."""
    return "named", names_of(connection, key_of, hashed), [command, *args]


async def values_of(connection: Connection, key_of: KeyOf, hashed: Sequence[str]) -> list[bytes | None]:
    """What belongs to hashed names, None where there is nothing. Read in one step."""
    names = [names_of(connection, key_of, one) for one in hashed]
    found = iter(await connection.mget([name for both in names for name in both]))
    return [next(filter(None, blobs), None) for blobs in ([next(found) for _ in both] for both in names)]
