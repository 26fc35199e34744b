"""Keys over a real store: told once, recognised, revoked, never kept in clear."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from alertd.common.clock import SystemClock
from alertd.common.errors import Problem
from alertd.service.access import Access
from alertd.store.carriers.limits import Limits
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.api_keys import ApiKeys


@pytest.fixture
def access(store: Connection) -> Access:
    return Access(ApiKeys(store), Limits(store), SystemClock())


async def test_a_key_is_recognised_with_its_scopes(access: Access):
    """Whoever holds the token is the person it was made for, with no more than its scopes."""
    made, token = await access.create(org="default", subject="ana", scopes=frozenset({"alerts:write"}))
    found = await access.recognise(token)
    assert (found, found.may("alerts:write"), found.may("alerts:approve")) == (made, True, False)
    assert token.startswith("live_")


async def test_admin_may_everything(access: Access):
    """One scope stands for all."""
    found, _ = await access.create(org="default", subject="ana", scopes=frozenset({"admin"}))
    assert found.may("alerts:approve")


async def test_a_key_remembers_whose_hands_it_came_through(access: Access):
    """Its maker, and the maker of the key it was made with, as people are compared."""
    root, _ = await access.create(org="default", subject="Root", scopes=frozenset({"admin"}))
    ana, _ = await access.create(org="default", subject="Ana", scopes=frozenset({"admin"}), maker=root)
    _, token = await access.create(org="default", subject="bea", scopes=frozenset(), maker=ana)
    assert (await access.recognise(token)).hands == {"root", "ana", "bea"}


async def test_a_test_key_stays_one_whatever_its_prefix(access: Access):
    """The record says what it is, not the token."""
    _, token = await access.create(org="default", subject="ana", scopes=frozenset({"admin"}), test=True)
    assert token.startswith("test_")
    assert (await access.recognise("live_" + token.removeprefix("test_"))).test


async def test_other_secrets_are_nobody(access: Access):
    """A wrong secret, another's secret, and no token at all."""
    _, one = await access.create(org="default", subject="ana", scopes=frozenset())
    _, two = await access.create(org="default", subject="bea", scopes=frozenset())
    mixed = one[:18] + two[18:]
    for token in (mixed, one[:-1], one + "A", "", "live_", one.upper(), one + "\n"):
        assert await access.recognise(token) is None


async def test_a_revoked_key_is_nobody(access: Access):
    """At once, and only its own organisation can do it."""
    made, token = await access.create(org="default", subject="ana", scopes=frozenset())
    with pytest.raises(Problem, match="not-found"):
        await access.revoke(made.key_id, replace(made, org="others"))
    assert await access.recognise(token) == made
    await access.revoke(made.key_id, made)
    assert await access.recognise(token) is None
    assert await access.list("default") == []


async def test_no_secret_is_in_the_store(access: Access, store: Connection):
    """Only its hash, even for whoever can open what is sealed."""
    made, token = await access.create(org="default", subject="ana", scopes=frozenset())
    secret = token[18:].encode()
    opened = {}
    for name in await store.execute("KEYS", "*"):
        kind = await store.execute("TYPE", name)
        value = await store.execute("GET" if kind == b"string" else "SMEMBERS", name)
        opened[name.decode()] = (
            store.codec.master.open(value, name.decode()) if kind == b"string" else repr(value).encode()
        )
    assert hashlib.sha256(secret).hexdigest().encode() in opened[keys.api_key(made.key_id)]
    assert not [name for name, value in opened.items() if secret in value]


async def test_the_first_key_is_given_once(access: Access):
    """A new installation has one administrator; a second start makes none."""
    token = await access.first("default")
    assert (await access.recognise(token)).may("admin")
    assert await access.first("default") is None
