"""What a login finds at servers that nobody here wrote: Postfix, node-smpp and nginx."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from channels.fcm import FcmChannel, FcmSettings
from channels.login import LoginState
from channels.mail import MailChannel
from channels.smpp.channel import SmppChannel
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from channels.smtp_relay import RelaySettings
from channels.webpush import WebPushChannel, WebPushSettings
from tests.contract import programs
from tests.contract.postfix_server import IDENTITY
from tests.contract.smpp_parties import centre_settings
from tests.ports import free_port

pytestmark = pytest.mark.peer


async def found(channel):
    """What a login finds."""
    await channel.open()
    try:
        return await channel.log_in()
    finally:
        await channel.close()


@pytest.fixture
async def refusing():
    """The port of an authentication server in Dovecot's protocol, which Postfix asks: it knows nobody."""

    async def serve(reader, writer):
        writer.write(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0123\nDONE\n")
        while line := await reader.readline():
            if line.startswith(b"AUTH\t"):
                writer.write(b"FAIL\t%b\n" % line.split(b"\t")[1])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def mail(sandbox, port: int, **changes) -> MailChannel:
    made = {"host": "127.0.0.1", "port": port, "ca_file": str(sandbox.authority.ca_file), **changes}
    return MailChannel(RelaySettings(**made), IDENTITY)


async def test_postfix_lets_in_whom_it_trusts_and_offers_no_login(sandbox, postfix):
    """A user that is set where the relay knows no accounts is named as the mistake."""
    assert (await found(mail(sandbox, postfix))).state is LoginState.WORKS
    login = await found(mail(sandbox, postfix, username="alertd", password="secret"))
    assert (login.state, login.server) == (LoginState.LOGIN_NOT_OFFERED, f"127.0.0.1:{postfix}")
    assert (await found(mail(sandbox, postfix, security="tls"))).said == "it answers in plain text"


async def test_postfix_says_why_it_refuses_a_login(sandbox, postfix, directory, refusing):
    """In its own words, without the user and the password."""
    config = str(directory / "config")
    options = ["smtpd_sasl_auth_enable=yes", "smtpd_sasl_type=dovecot", f"smtpd_sasl_path=inet:127.0.0.1:{refusing}"]
    await asyncio.to_thread(subprocess.run, ["postconf", "-c", config, "-e", *options], check=True)
    await asyncio.to_thread(subprocess.run, ["postfix", "-c", config, "reload"], check=True, capture_output=True)
    login = await found(mail(sandbox, postfix, username="alertd", password="secret-7"))
    assert login.state is LoginState.LOGIN_REFUSED
    assert login.said.startswith("535 5.7.8 Error: authentication failed")
    assert "secret-7" not in login.said


@pytest.mark.parametrize(("password", "state"), [("sandbox", LoginState.WORKS), ("x", LoginState.LOGIN_REFUSED)])
async def test_node_smpp_says_whether_the_password_is_right(node, password, state):
    """By the status of its answer to the bind."""
    account = {"host": "127.0.0.1", "system_id": "sandbox", "password": password, "sender": "12345"}
    login = await found(SmppChannel(centre_settings(**account, **node[0])))
    assert (login.state, login.server) == (state, f"127.0.0.1:{node[0]['port']}")
    assert "(0x" in login.said or state is LoginState.WORKS


SERVERS = """
  server {{ listen 127.0.0.1:{plain}; return 404; }}
  server {{ listen 127.0.0.1:{port} ssl; http2 on; location / {{ return 401 '{{"code": 20003, "message": "Authenticate"}}'; }} }}
"""


@pytest.fixture
def nginx(sandbox):
    """The ports of nginx: one speaks TLS and refuses every account, the other speaks plain HTTP."""
    port, plain = free_port(), free_port()
    log = '{"line": "$request"}'
    servers = SERVERS.format(port=port, plain=plain)
    with programs.nginx(sandbox.authority.ca_file.parent, sandbox.authority, servers, log, port):
        yield port, plain


def over_https(sandbox, port: int):
    """Every channel that speaks to a URL of the settings."""
    endpoint, ends, ca_file = f"https://127.0.0.1:{port}", sandbox.endpoints, str(sandbox.authority.ca_file)
    sms = HttpSmsSettings(account="AC1", secret="horse", sender="ALERTS", endpoint=endpoint, ca_file=ca_file)
    webpush = {**ends["webpush"], "endpoint": endpoint, "hosts": tuple(ends["webpush"]["hosts"])}
    return [
        HttpSmsChannel(sms),
        FcmChannel(FcmSettings(**{**ends["push"], "endpoint": endpoint})),
        WebPushChannel(WebPushSettings(**webpush)),
    ]


async def test_https_to_nginxs_plain_port_is_told_from_one_that_is_away(sandbox, nginx):
    """For every channel that speaks HTTPS."""
    for channel in over_https(sandbox, nginx[1]):
        assert (await found(channel)).state is LoginState.PLAIN_HTTP
    with_account, *reached = over_https(sandbox, nginx[0])
    assert [(await found(channel)).state for channel in reached] == [LoginState.WORKS] * 2
    login = await found(with_account)
    assert (login.state, login.said) == (LoginState.LOGIN_REFUSED, "HTTP 401: Authenticate")
