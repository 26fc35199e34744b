"""What in a store is sealed under a master key, found without the table of the walk that seals it anew."""

from __future__ import annotations

from redis.asyncio import Redis

from alertd.store.master_key.resealing import SEALED, kind_of


async def marked(redis: Redis, mark: bytes) -> dict[str, set[str]]:
    """Every value of the store that begins as those of a key do, as kind of key -> keys of the store. One that the walk does not know is its own kind."""
    found = dict[str, set[str]]()
    async for raw in redis.scan_iter():
        name = raw.decode()
        match await redis.type(raw):
            case b"string":
                blob = await redis.get(raw)
                values = [blob, blob[4:]]
            case b"hash":
                values = await redis.hvals(raw)
            case b"list":
                values = await redis.lrange(raw, 0, -1)
            case b"stream":
                values = [value for _, fields in await redis.xrange(raw) for value in fields.values()]
            case _:
                values = []
        if any(value.startswith(mark) for value in values):
            found.setdefault(next((one for one in SEALED if kind_of(name) is SEALED[one]), name), set()).add(name)
    return found
