"""Opening a store: whether it may be, and its schema."""

from __future__ import annotations

from redis.exceptions import ResponseError

from alertd.store import keys
from alertd.store.connection import Connection, StoreRefusedError

#: What is stored is read by this number or not at all. No release wrote one before it.
SCHEMA_VERSION = 5
A_SANDBOX = (
    "the store is a sandbox's, with sample people whose numbers may be somebody's: start it with --sandbox, or use another "
    "(store.directory, store.url)"
)
NO_SANDBOX = (
    "the store is no sandbox's: what is sent there would count as sent and reach nobody. Give the sandbox a store of its own "
    "(store.directory, store.url)"
)


async def open_store(connection: Connection, *, sandbox: bool = False) -> None:
    """Check that this store may be used by this program with these keys, for a `sandbox` or for none, and mark a new one. Raises
    StoreRefusedError and StoreUnavailableError.
    """
    await connection.meet()
    if not await look(connection, sandbox=sandbox):
        own = (keys.SCHEMA, SCHEMA_VERSION, keys.KEY_CHECK, connection.codec.check_value, keys.SANDBOX, int(sandbox))
        if not await connection.execute("MSETNX", *own):
            await look(connection, sandbox=sandbox)  # another process was here first


def other_schema(found: int) -> str:
    """What is said of data that this alertd does not read; empty where it does."""
    if found == SCHEMA_VERSION:
        return ""
    age = "newer" if found > SCHEMA_VERSION else "older"
    return f"of schema {found}, {age} than this alertd's {SCHEMA_VERSION}: run the {age} alertd"


async def look(connection: Connection, *, sandbox: bool) -> bool:
    """Whether this store has data; changes nothing. Raises StoreRefusedError where it may not be opened."""
    try:
        found, check, is_sandbox = await connection.execute("MGET", keys.SCHEMA, keys.KEY_CHECK, keys.SANDBOX)
    except ResponseError as error:  # a Sentinel, or a database that there is not
        raise StoreRefusedError(f"what is asked at store.url holds no data for alertd: {error}") from None
    if found is None:
        return False
    if other := other_schema(int(found)):
        raise StoreRefusedError(f"the store holds data {other}")
    if not connection.codec.holds(check.decode()):
        raise StoreRefusedError(
            "the store was made with other keys: give the hashing key it was made with, and its current master key"
        )
    connection.codec.use(check.decode())
    if (is_sandbox == b"1") != sandbox:
        raise StoreRefusedError(NO_SANDBOX if sandbox else A_SANDBOX)
    return True
