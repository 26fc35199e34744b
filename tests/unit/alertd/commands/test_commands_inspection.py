"""`alertd check` names what would keep the service from starting, and asks a store of one's own whether it is there."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alertd.commands.installation.inspection import Finding, inspected
from alertd.config.sections import OidcSection, StoreSection
from alertd.config.settings import Settings
from geofences.regions import Library
from tests.issuer import CLIENT, SECRET, issuing

KEY = "00" * 32
NOBODY = 65_534


def looked(settings: Settings) -> list[Finding]:
    """What is found where the regions are in order; to load them takes longer than everything else."""
    return inspected(settings, None, lambda _: Library([], np.empty(0, dtype=object)))


def test_faults_of_an_installation_are_named_together(tmp_path: Path):
    """A store that nobody serves and regions that cannot be read are two faults, each with its words."""
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions" / "town.regions").write_text("no zip")
    with socket.socket() as held:  # bound and not listening: nobody can be there
        held.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{held.getsockname()[1]}"
        section = StoreSection(url=url, directory=tmp_path, master_key=KEY, hash_key=KEY)
        found = inspected(Settings(store=section), tmp_path / "alertd.toml")
    says = {finding.part: finding.says for finding in found if not finding.ok}
    assert says.keys() == {"store", "regions"}
    assert says["store"].startswith("store.url: ")
    assert "town.regions" in says["regions"]


@pytest.mark.parametrize(
    ("section", "part", "words"),
    [
        ({"url": "redis://127.0.0.1:1"}, "store", "store.master_key"),
        ({"url": "file:///x", "master_key": KEY, "hash_key": KEY}, "store", "store.url is no address"),
        ({"url": "redis://:se/cret@x", "master_key": KEY, "hash_key": KEY}, "store", "store.url is no address"),
        ({"url": "rediss://x?ssl_ca_cert=y", "master_key": KEY, "hash_key": KEY}, "store", "ssl_ca_certs="),
        ({"server": "/nowhere/valkey"}, "store", "/nowhere/valkey"),
        ({"reserve_mb": 1 << 40}, "data directory", "MB free"),
    ],
)
def test_store_that_cannot_start_is_a_fault(tmp_path: Path, section: dict[str, Any], part: str, words: str):
    """Keys, address, server program and room are looked at before anything runs."""
    found = looked(Settings(store=StoreSection(**{"directory": tmp_path, **section})))
    fault = next(finding for finding in found if not finding.ok)
    assert fault.part == part
    assert words in fault.says
    assert "'se'" not in fault.says  # what stands before a slash is taken for a port, and was quoted


def test_keys_that_an_embedded_store_does_not_use_are_told(tmp_path: Path):
    """Whoever keeps them apart from the data would think that they are."""
    for keys in ({}, {"hash_key": KEY}):
        found = looked(Settings(store=StoreSection(**{"directory": tmp_path, **keys})))
        warned = [one.says for one in found if one.part == "store" and one.warns]
        assert ["beside the data" in says for says in warned] == [True] * len(keys)


@pytest.fixture
def somebody() -> Iterator[None]:
    """For as long as a test runs, this process may write no more than an ordinary user may."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(own)


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("name", ["", "alertd.lock"])
def test_data_that_another_user_made_is_a_fault(name: str):
    """Whoever starts the service once as another user leaves files that it cannot write."""
    with tempfile.TemporaryDirectory() as directory:
        theirs = Path(directory) / name
        theirs.touch()
        theirs.chmod(0o500)
        # What the tests run with may be barred, too: the part that is asked about is looked at alone.
        section = StoreSection(directory=Path(directory), server=Path("/bin/true"))
        (one,) = [one for one in looked(Settings(store=section)) if one.part == "data directory"]
        assert (one.ok, str(theirs.resolve()) in one.says) == (False, True)


def test_tombstones_that_cannot_be_written_are_told_before_a_case_has_to_be_purged(tmp_path: Path):
    """It would start, and purge nothing."""
    for place, warns in (("tombstones", False), ("none/tombstones", True)):
        found = looked(Settings(store=StoreSection(directory=tmp_path, tombstones=tmp_path / place)))
        (one,) = [finding for finding in found if finding.part == "tombstones"]
        assert (one.ok, one.warns, str(tmp_path / place) in one.says) == (True, warns, True)


TWILIO = {"kind": "twilio", "account": "AC1", "password": "secret", "sender": "+34600000000"}
SMTP = {"kind": "smtp", "host": "relay.example", "sender": "Alerts <alerts@centre.example>"}


def warnings(tmp_path: Path, **sections: Any) -> dict[str, str]:
    settings = Settings.model_validate({"store": {"directory": tmp_path}, **sections})
    return {finding.part: finding.says for finding in looked(settings) if finding.warns}


@pytest.mark.parametrize(
    ("sign_in", "works"),
    [
        ({}, True),
        ({"rp_id": "centre.example", "origins": ["https://desk.centre.example:8443", "https://centre.example"]}, True),
        ({"rp_id": "centre.example", "origins": ["https://notcentre.example"]}, False),
        ({"origins": ["https://desk.centre.example"]}, False),
    ],
)
def test_a_page_where_no_passkey_works_is_warned_of(tmp_path: Path, sign_in: dict[str, Any], works: bool):
    """Browsers offer them on their own domain alone, and whoever sets up the console would look for the fault there."""
    assert ("sign_in" not in warnings(tmp_path, sign_in=sign_in)) == works


REPORTING = pytest.mark.parametrize(
    ("carrier", "words"),
    [
        (TWILIO, "one: its reports would be lost"),
        (SMTP, "one: recipients could not unsubscribe by the link in a mail"),
        ({**SMTP, "reports": "postmark", "reports_secret": "s" * 32}, "one: its reports would be lost"),
    ],
)


@pytest.mark.parametrize(
    "url", [None, "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost", "http://0.0.0.0"]
)
@REPORTING
def test_what_cannot_come_back_is_warned_of(tmp_path: Path, url: str, carrier: dict[str, Any], words: str):
    """A carrier that reports to this machine's own loopback reports to nobody."""
    assert words in warnings(tmp_path, api={"public_url": url}, carriers={"one": carrier})["api.public_url"]


@REPORTING
def test_what_can_come_back_is_not_warned_of(tmp_path: Path, carrier: dict[str, Any], words: str):
    """An address that others can reach."""
    assert not warnings(tmp_path, api={"public_url": "https://alerts.centre.example"}, carriers={"one": carrier})


def test_gateway_on_this_machine_reports_to_it(tmp_path: Path):
    """Then the loopback is where it reaches us."""
    carrier = {**TWILIO, "endpoint": "http://127.0.0.1:9000"}
    assert not warnings(tmp_path, api={"public_url": "http://127.0.0.1:8080"}, carriers={"one": carrier})


def test_carriers_are_said_not_to_have_been_asked(tmp_path: Path):
    """Nothing is sent to a carrier by looking."""
    settings = Settings.model_validate({"store": {"directory": tmp_path}, "carriers": {"one": SMTP}})
    [says] = [finding.says for finding in looked(settings) if finding.part == "carrier one"]
    assert says.endswith("; not contacted")


def test_nothing_to_send_with_is_warned_of_unless_a_sandbox_runs(tmp_path: Path):
    """What a sandbox left behind is none."""
    assert warnings(tmp_path)["carriers"].startswith("none: nothing can be sent")
    (tmp_path / "sandbox").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as mail:
        host, port = mail.getsockname()
        (tmp_path / "sandbox" / "sandbox.json").write_text(f'{{"mail": {{"host": "{host}", "port": {port}}}}}')
        assert not warnings(tmp_path)
    assert "carriers" in warnings(tmp_path)


@pytest.mark.parametrize(
    ("domain", "warned"),
    [("centre.example", False), ("example", False), ("mail.centre.example", False), ("other.example", True)],
)
def test_a_signature_for_another_domain_is_warned_of(tmp_path: Path, domain: str, warned: bool):
    """Who checks DMARC asks that a signature be the sender's own."""
    carrier = {**SMTP, "dkim": [{"domain": domain, "selector": "s1", "key": "x"}]}
    assert ("DMARC" in warnings(tmp_path, carriers={"one": carrier}).get("carrier one", "")) == warned


async def test_a_sign_in_provider_is_asked_as_the_service_does(tmp_path: Path):
    """It answers, or nobody signs in by it, which is said and keeps nothing from starting; an authority that cannot be read does."""

    async with issuing() as issuer:
        one = await of_provider(tmp_path, issuer=issuer.url)
        assert (one.ok, one.warns) == (True, False), one.says
        assert "http://localhost:8080/console" in one.says
        issuer.document = {"issuer": "https://evil.example"}
        one = await of_provider(tmp_path, issuer=issuer.url)
        assert (one.ok, one.warns) == (True, True)
    assert (await of_provider(tmp_path, issuer=issuer.url)).warns
    assert not (await of_provider(tmp_path, issuer=issuer.url, ca_file=tmp_path / "none.pem")).ok


async def of_provider(directory: Path, **oidc: Any) -> Finding:
    """What is found of the sign-in provider."""
    section = OidcSection(**{"client_id": CLIENT, "client_secret": SECRET, **oidc})
    settings = Settings(store=StoreSection(directory=directory), oidc=section)
    [one] = [one for one in await asyncio.to_thread(looked, settings) if one.part == "sign-in provider"]
    return one


DISCOVERY = "discovery endpoint {0}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"fails": 404}, f"{DISCOVERY}: it answers 404"),
        ({"issuer": "https://evil.example"}, f"{DISCOVERY}: its issuer is not {{0}}, letter by letter"),
        ({"token_endpoint": None}, f"{DISCOVERY}: its token_endpoint is missing or no https address"),
        ({"jwks_uri": "{0}/none"}, "jwks endpoint {0}/none: it answers 404"),
        ({"jwks_uri": "{0}/page"}, "jwks endpoint {0}/page: it answers something else than a JSON object"),
        ({"jwks_uri": "http://127.0.0.1:1/keys"}, "jwks endpoint http://127.0.0.1:1/keys: no connection: "),
        ({"token_endpoint": "{0}/none"}, "token endpoint {0}/none: it answers 404 to a wrong code"),
        ({"token_endpoint": "{0}/page"}, "token endpoint {0}/page: it answers 200 to a wrong code"),
        ({"client_secret": "old"}, "token endpoint {0}/token: it refuses oidc.client_id or oidc.client_secret"),
    ],
)
async def test_the_endpoint_of_a_sign_in_provider_that_is_at_fault_is_named(tmp_path: Path, fault: dict, says: str):
    """With its address and what is wrong there, so that the operator knows whom to ask."""
    async with issuing() as issuer:
        issuer.fails = fault.get("fails", 0)
        issuer.document = {
            name: value and value.format(issuer.url)
            for name, value in fault.items()
            if name not in {"fails", "client_secret"}
        }
        secret = {"client_secret": fault["client_secret"]} if "client_secret" in fault else {}
        one = await of_provider(tmp_path, issuer=issuer.url, **secret)
        assert one.warns
        assert one.says.startswith(says.format(issuer.url)), one.says
