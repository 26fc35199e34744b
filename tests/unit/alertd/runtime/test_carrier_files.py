"""A file that a carrier names and that is not what it should be is a fault of its option, in the same words for the check and for a start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alertd.commands.installation.inspection import inspected
from alertd.common.errors import ConfigError
from alertd.config.carriers import FcmCarrier, SmtpCarrier
from alertd.config.settings import Settings
from alertd.runtime.assembly import library_of
from alertd.runtime.carrier_factory import carriers_of

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
ACCOUNT = {
    "type": "service_account",
    "project_id": "p",
    "client_email": "a@p.example",
    "token_uri": "https://t.example",
}


def faults(**carriers: FcmCarrier | SmtpCarrier) -> list[str]:
    """What a start says, after the check has said the same."""
    settings = Settings(carriers=carriers)
    with pytest.raises(ConfigError) as refused:
        carriers_of(settings, dict.fromkeys(carriers, 0))
    lines = str(refused.value).splitlines()
    found = [one for one in inspected(settings, None, library_of) if one.part.startswith("carrier ")]
    assert [line for one in found if not one.ok for line in one.says.split("; ")] == lines
    return lines


def fcm(credentials: Path, ca_file: Path | None = None) -> FcmCarrier:
    return FcmCarrier(kind="fcm", credentials=credentials, ca_file=ca_file)


def test_all_carriers_are_named_at_once(tmp_path: Path):
    """With both files of one that has two wrong."""
    (tmp_path / "ca.pem").write_text("no PEM")
    gone, wrong = tmp_path / "gone", tmp_path / "ca.pem"
    mail = SmtpCarrier(kind="smtp", host="mx.example", sender="a@b.example", ca_file=gone)
    assert faults(push=fcm(gone, wrong), relay=mail) == [
        f"carriers.push.credentials: there is no file {gone}",
        f"carriers.push.ca_file: {wrong} holds no certificate in PEM",
        f"carriers.relay.ca_file: there is no file {gone}",
    ]


@pytest.mark.parametrize("text", ["", "no PEM", PEM])
def test_a_ca_file_without_a_certificate_is_named(tmp_path: Path, text: str):
    """Whatever else stands in it."""
    file = tmp_path / "ca.pem"
    file.write_text(text)
    relay = SmtpCarrier(kind="smtp", host="mx.example", sender="a@b.example", ca_file=file)
    assert faults(relay=relay) == [f"carriers.relay.ca_file: {file} holds no certificate in PEM"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("{no", "holds no JSON"),
        ("[]", "holds no service account"),
        (json.dumps({"project_info": {}, "client": []}), "is the app's google-services.json, not a service account"),
        (
            json.dumps(ACCOUNT),
            "holds no service account: The private_key field was not found in the service account info",
        ),
        (json.dumps({**ACCOUNT, "private_key": "x"}), "holds no service account: Unable to load PEM file"),
    ],
)
def test_credentials_that_are_no_service_account_are_named(tmp_path: Path, text: str, says: str):
    """The commonest mistake is the file of the app."""
    file = tmp_path / "account.json"
    file.write_text(text)
    [fault] = faults(push=fcm(file))
    assert fault.startswith(f"carriers.push.credentials: {file} {says}")
