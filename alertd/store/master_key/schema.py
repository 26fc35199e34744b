"""Opens a store: checks its keys, its schema and whether it belongs to a sandbox, and initialises a new one."""

from __future__ import annotations

from redis.exceptions import ResponseError

from alertd.store.engine import keys
from alertd.store.engine.codec import SealError
from alertd.store.engine.connection import Connection, StoreRefusedError
from alertd.store.master_key.state import MasterKeys

#: Version of the stored format. alertd reads no other version. No release wrote an earlier one.
SCHEMA_VERSION = 7
A_SANDBOX = (
    "the store belongs to a sandbox, and its sample people may have real numbers: start it with --sandbox, or use another "
    "(store.directory, store.url)"
)
NO_SANDBOX = (
    "the store does not belong to a sandbox: its alerts would count as sent but reach no one. Give the sandbox its own store "
    "(store.directory, store.url)"
)
A_SENTINEL = "this is a Sentinel, not a store: give store.url the address of a proxy that leads to the current master, see ops/docs/run/sentinel.md"
OTHER_KEYS = "the store was made with other keys: give its current master key, and the hashing key it was made with or that a rotation put in its place"


async def open_store(connection: Connection, *, sandbox: bool = False) -> None:
    """Checks that this program may use the store with its keys, and initialises an empty one, durably. `sandbox`: whether it must belong to
    a sandbox. Raises StoreRefusedError and StoreUnavailableError.
    """
    await connection.meet()
    if await check_store(connection, sandbox=sandbox):
        return
    codec = connection.codec
    if not codec.has_secret:
        raise StoreRefusedError("a new store needs store.hash_key (or store.hash_key_file) too")
    cell_key = keys.CELL_KEY, codec.new_key(keys.CELL_KEY)
    own = keys.SCHEMA, SCHEMA_VERSION, keys.KEY_CHECK, codec.check_value, keys.SANDBOX, int(sandbox), *cell_key
    await connection.execute_durably("MSETNX", *own)  # does nothing if another process was here first
    if not await check_store(connection, sandbox=sandbox):
        raise StoreRefusedError("the store has data but no schema number: restore it from a backup")


def other_schema(found: int) -> str:
    """Returns a text that describes data of schema version `found` and what to do, or '' if it is this program's own version."""
    if found == SCHEMA_VERSION:
        return ""
    age = "newer" if found > SCHEMA_VERSION else "older"
    start_anew = "" if found > SCHEMA_VERSION else ", or start with an empty store and import the subscribers again"
    return f"of schema {found}, {age} than this alertd's {SCHEMA_VERSION}: run the {age} alertd{start_anew}"


async def check_store(connection: Connection, *, sandbox: bool) -> bool:
    """Returns whether the store has data. If so, checks it, and loads its secrets and its cell key into the codec. Writes nothing. Raises
    StoreRefusedError if the store must not be opened.
    """
    try:
        found, check, is_sandbox = await connection.execute("MGET", keys.SCHEMA, keys.KEY_CHECK, keys.SANDBOX)
    except ResponseError as error:  # a Sentinel, or a database that does not exist
        raise StoreRefusedError(
            A_SENTINEL
            if await _is_sentinel(connection)
            else f"the server at store.url holds no data for alertd: {error}"
        ) from None
    if found is None:
        return False
    if other := other_schema(int(found)):
        raise StoreRefusedError(f"the store holds data {other}")
    try:
        await load_secrets(connection)
    except SealError:
        raise StoreRefusedError(OTHER_KEYS) from None
    if check.decode() not in connection.codec.master.names:
        raise StoreRefusedError(OTHER_KEYS)
    connection.codec.use(check.decode())
    if (is_sandbox == b"1") != sandbox:
        raise StoreRefusedError(NO_SANDBOX if sandbox else A_SANDBOX)
    try:
        await load_cell_key(connection)
    except SealError as error:
        raise StoreRefusedError(str(error)) from None
    return True


async def _is_sentinel(connection: Connection) -> bool:
    """Returns whether the server is a Sentinel, which holds no data."""
    try:
        role = await connection.execute("ROLE")
    except ResponseError:
        return False
    return bool(role and role[0] == b"sentinel")


async def load_secrets(connection: Connection) -> None:
    """Loads the hashing secrets that the store keeps into the connection's codec; before the first rotation there are none. Raises
    SealError if the hashing key of the configuration is not among them.
    """
    found = (await MasterKeys(connection).load_secrets()).secrets
    if found:
        connection.codec.take_secrets(found, 0)  # the watch over the keys finds which one signs


async def load_cell_key(connection: Connection) -> None:
    """Loads the store's cell key into the connection's codec. Raises SealError if there is none, or the master key does not open it."""
    wrapped = await connection.execute("GET", keys.CELL_KEY)
    if wrapped is None:
        raise SealError("the store has no cell key: restore it from a backup")
    connection.codec.use_cell_key(wrapped, keys.CELL_KEY)
