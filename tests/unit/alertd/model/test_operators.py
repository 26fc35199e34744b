"""Roles and codes of operators, without a store."""

from __future__ import annotations

from typing import get_args

import pytest

from alertd.config.sections import ApiSection, SignInSection
from alertd.config.settings import Settings
from alertd.model.operator import SCOPES, Role, network_of, normal_code, scopes_of
from alertd.service.access import Scope
from alertd.service.organisations.passkeys import RelyingParty


def test_every_role_has_scopes_that_there_are():
    """The one table: no role without a row, and no scope that no operation knows."""
    assert set(SCOPES) == set(Role)
    assert frozenset().union(*SCOPES.values()) <= set(get_args(Scope))
    assert all("alerts:read" in scopes or "admin" in scopes for scopes in SCOPES.values())


def test_only_who_is_meant_to_decides():
    """Authors write, approvers and protection officers decide, and a viewer does neither."""
    may = {role: {"alerts:write", "alerts:approve"} & SCOPES[role] for role in Role if role is not Role.ADMINISTRATOR}
    assert may == {
        Role.AUTHOR: {"alerts:write"}, Role.APPROVER: {"alerts:approve"}, Role.PROTECTION_OFFICER: {"alerts:approve"},
        Role.VIEWER: set(),
    }  # fmt: skip
    assert [role for role in Role if "alerts:protect" in SCOPES[role]] == [Role.PROTECTION_OFFICER]
    assert scopes_of(["author", "approver"]) >= {"alerts:write", "alerts:approve"}


@pytest.mark.parametrize(
    "text", ["7K2M9QXD4TVB31HN", "7k2m-9qxd-4tvb-31hn", " 7K2M 9QXD 4TVB 3IHN", "7k2m–9qxd–4tvb–3lhn"]
)
def test_a_code_is_read_as_people_write_it(text: str):
    """In small letters, with whatever between its groups, and with the letters that are taken for digits."""
    assert normal_code(text) == "7K2M9QXD4TVB31HN"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", "unknown"), ("not an address", "unknown"),
    ],
)  # fmt: skip
def test_tries_are_counted_by_who_has_an_address(address: str, name: str):
    """One customer's IPv6 addresses are one; an IPv4 address stays one, also where it comes in the form of IPv6."""
    assert network_of(address) == name


@pytest.mark.parametrize(
    ("api", "section", "expected"),
    [
        ({}, {}, ("localhost", ("http://localhost:8080",), False)),
        ({"host": "::1", "port": 9000}, {}, ("localhost", ("http://localhost:9000",), False)),
        (
            {"public_url": "https://alerts.centre.example/alertd"}, {},
            ("alerts.centre.example", ("https://alerts.centre.example",), True),
        ),
        (
            {"public_url": "https://alerts.centre.example"}, {"rp_id": "centre.example", "origins": ["https://desk.centre.example"]},
            ("centre.example", ("https://desk.centre.example",), True),
        ),
    ],
)  # fmt: skip
def test_passkeys_are_for_where_the_console_is_reached(api, section, expected):
    """The public URL's domain, or localhost in place of a bare address, unless the settings name another."""
    found = RelyingParty.of(Settings(api=ApiSection(**api), sign_in=SignInSection(**section)))
    assert (found.id, found.origins, found.secure) == expected
