"""Where the OpenID provider may be, and what of the settings is half a thing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from alertd.common.errors import ConfigError
from alertd.config.sections import OidcSection
from alertd.service.organisations.oidc_provider import guarded
from channels.fetching import FetchError

ISSUER = "https://sso.centre.example:8443/realms/staff"


def may_ask(url: str, **settings: object) -> bool:
    """Whether it would be tried, as far as that can be told without a look at the network."""
    try:
        guarded(OidcSection.model_validate({"issuer": ISSUER, "client_id": "alertd", **settings})).check(url)
    except FetchError:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://sso.centre.example:8443/token", True),
        ("https://keys.centre.example/jwks", True),
        ("https://sso.centre.example:9000/token", False),
        ("http://sso.centre.example:8443/token", False),
        ("https://10.0.0.7:8443/token", False),
        ("https://169.254.169.254/latest", False),
        ("http://127.0.0.1:8443/token", False),
    ],
)
def test_a_provider_is_asked_at_its_port_over_tls_on_the_public_internet(url: str, expected: bool):
    """What its document names is its own word, and no way into the network here."""
    assert may_ask(url) is expected


def test_a_provider_of_one_s_own_network_is_said_to_be():
    """Then addresses of that network are asked, too, over TLS as everywhere; this machine only where the issuer is here."""
    assert may_ask("https://10.0.0.7:8443/token", own_network=True)
    assert not may_ask("http://10.0.0.7:8443/token", own_network=True)
    assert may_ask("http://127.0.0.1:9000/token", issuer="http://127.0.0.1:9000")
    assert not may_ask("https://10.0.0.7/token", issuer="http://127.0.0.1:9000")


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": ""}, {"issuer": ""}, {"issuer": "http://sso.centre.example"}, {"issuer": f"{ISSUER}?a=b"},
        {"issuer": "https://user@sso.centre.example"}, {"issuer": f"{ISSUER}#a"},
    ],
)  # fmt: skip
def test_half_a_provider_is_refused(wrong: dict[str, str]):
    """An issuer without a client, or the other way round, or one that is no plain https address (Discovery, 3)."""
    with pytest.raises(ValidationError):
        OidcSection.model_validate({"issuer": ISSUER, "client_id": "alertd", **wrong})


def test_an_authority_that_cannot_be_read_is_told_at_the_start(tmp_path):
    """In the words of the settings."""
    with pytest.raises(ConfigError, match="ca_file"):
        guarded(OidcSection(issuer=ISSUER, client_id="alertd", ca_file=tmp_path / "none.pem"))
