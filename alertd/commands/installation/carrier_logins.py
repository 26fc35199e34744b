"""The logins at carriers that `alertd check` makes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.service.carriers.carriers import Carrier
from alertd.store.carriers.logins import Logins
from alertd.store.engine.codec import Codec, SealError
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.master_key.schema import load_secrets
from channels.base import Binding
from channels.login import Login, LoginState

#: Seconds after which a carrier counts as not answering.
LOGIN_S = 15.0
ANSWER_S = 5.0


async def found(carriers: Mapping[str, Carrier], store: tuple[str, Codec] | None) -> dict[str, Login]:
    """Returns, by carrier, the result of a login from this machine. Running workers hold the binds of an SMS centre and the connections of a mail
    relay, and both limit them. So for a centre, and for a busy relay, the result is that of workers that log in with the same settings. `store`
    is the URL and codec of a store that answers; None without one.
    """
    binding = [name for name, one in carriers.items() if isinstance(one.channel, Binding)]
    of_workers = await _of_workers(carriers, binding, store)
    todo = [name for name in carriers if name not in of_workers]
    own = dict(zip(todo, await asyncio.gather(*(_own(carriers[name]) for name in todo)), strict=True))
    busy = [name for name, login in own.items() if login.state is LoginState.BUSY]
    return of_workers | own | await _of_workers(carriers, busy, store)


async def _of_workers(
    carriers: Mapping[str, Carrier], names: Sequence[str], store: tuple[str, Codec] | None
) -> dict[str, Login]:
    """Returns, by carrier, the last login of a worker with the same settings. Leaves out carriers without such a login,
    and returns none if the store does not answer.
    """
    settings = {name: carriers[name].login for name in names if carriers[name].login}
    if not settings or store is None:
        return {}
    url, codec = store
    try:
        async with Redis.from_url(url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S) as client:
            connection = Connection(client, codec)
            await connection.meet()
            await load_secrets(connection)
            records = await Logins(connection).get_same(settings)
    except (StoreUnavailableError, RedisError, SealError, OSError):
        return {}  # the finding for the store reports the failure
    return {name: record.login for name, record in records.items() if record is not None}


async def _own(carrier: Carrier) -> Login:
    channel = carrier.channel
    try:
        async with asyncio.timeout(LOGIN_S):
            await channel.open()
            return await channel.log_in()
    except TimeoutError:
        return Login(LoginState.TIMED_OUT, "", f"{LOGIN_S:g} s")
    finally:
        await channel.close()
