"""Logs in at carriers for `alertd check`."""

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

#: Seconds after which a carrier, and the store, count as not answering.
LOGIN_S = 15.0
ANSWER_S = 5.0


async def found(carriers: Mapping[str, Carrier], store: tuple[str, Codec] | None) -> dict[str, Login]:
    """Logs in at each carrier from this machine and returns the results by carrier.

    A worker that logs in with the same settings may know more, so its last result replaces that of this machine:

    - for an SMS centre and a busy mail relay, because they limit connections, and the workers hold these;
    - for web push, because the worker knows which push services the subscribers use;
    - if the carrier refuses every recipient.

    `store`: the URL and the codec of the store; None if it cannot be opened.
    """
    binding = [name for name, one in carriers.items() if isinstance(one.channel, Binding)]
    of_workers = await _of_workers(carriers, binding, store)
    todo = [name for name in carriers if name not in of_workers]
    own = dict(zip(todo, await asyncio.gather(*(_own(carriers[name]) for name in todo)), strict=True))
    open_ = [name for name, login in own.items() if login.state is LoginState.BUSY or not login.fails]
    known = await _of_workers(carriers, open_, store)
    better = {
        name: login
        for name, login in known.items()
        if own[name].state is not LoginState.WORKS or login.state is LoginState.REFUSES_RECIPIENTS
    }
    return of_workers | own | better


async def _of_workers(
    carriers: Mapping[str, Carrier], names: Sequence[str], store: tuple[str, Codec] | None
) -> dict[str, Login]:
    """Returns, by carrier, the result of the last login of workers with the same settings. Leaves out carriers without
    one; returns {} if the store does not answer.
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
        return {}  # another check reports that the store does not answer
    return {name: record.login for name, record in records.items() if record is not None}


async def _own(carrier: Carrier) -> Login:
    """Opens the carrier's channel, logs in, closes the channel, and returns the result; TIMED_OUT after 15 s."""
    channel = carrier.channel
    try:
        async with asyncio.timeout(LOGIN_S):
            await channel.open()
            return await channel.log_in()
    except TimeoutError:
        return Login(LoginState.TIMED_OUT, "", f"{LOGIN_S:g} s")
    finally:
        await channel.close()
