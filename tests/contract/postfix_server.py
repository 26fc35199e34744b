"""A Postfix of the test, and the bounces that it sends."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from channels.base import Loudness, MailMessage, Stamp
from channels.mail_message import MailIdentity
from tests.ports import free_port, wait_for_port

MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/postfix.log
maillog_file_prefixes = {dir}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example
mydestination =
virtual_mailbox_domains = people.example
virtual_mailbox_base = {dir}/boxes
virtual_mailbox_maps = inline:{{ {{ana@people.example = ana/}}, {{ben@people.example = ben/}}, {{busy@people.example = busy/}} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
message_size_limit = 60000
virtual_mailbox_limit = 0
smtpd_tls_cert_file = {dir}/server.pem
smtpd_tls_key_file = {dir}/server.key
smtpd_tls_security_level = encrypt
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{busy@people.example = 451 4.7.1 slow down}} }}
smtpd_client_restrictions =
smtpd_client_connection_count_limit = 6
smtpd_client_event_limit_exceptions =
relay_domains = far.example, a.example
transport_maps = inline:{{ {{far.example = smtp:[127.0.0.1]:{far}}}, {{a.example = lmtp:[127.0.0.1]:{bounces}}} }}
"""

MASTER = """
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
postlog unix-dgram n - n - 1 postlogd
"""


IDENTITY = MailIdentity(sender="Alertas <alerts@a.example>", domain="a.example", unsubscribe_base="https://a.example")


def message(text: str) -> MailMessage:
    stamp = Stamp(chain="c1", version="v1", sent_s=0, expires_s=4_000_000_000, loudness=Loudness.LOUD, language="es")
    return MailMessage(stamp=stamp, subject="Niña desaparecida: 漢字", text=text, html="<p>Lucía</p>")


@pytest.fixture
def directory(sandbox):
    """A directory that Postfix's own users may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="postfix-") as name:
        made = Path(name)
        made.chmod(0o755)
        for file in (sandbox.authority.certificate_file, sandbox.authority.key_file):
            shutil.copy(file, made)
        user = pwd.getpwnam("postfix")
        for part in ("data", "boxes"):
            (made / part).mkdir()
            os.chown(made / part, user.pw_uid, user.pw_gid)
        (made / "queue").mkdir()
        yield made


@pytest.fixture
def bounces():
    """The port where Postfix hands over what comes for the return paths."""
    return free_port()


@pytest.fixture
def postfix(directory, sandbox, bounces):
    """The port of a running Postfix. What is for far.example it hands to the sandbox's server."""
    program = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program, "Postfix is missing: apt-get install postfix"
    assert os.geteuid() == 0, "Postfix can be started by root only"
    port = free_port()
    config, user = directory / "config", pwd.getpwnam("postfix")
    config.mkdir()
    (config / "main.cf").write_text(
        MAIN.format(dir=directory, uid=user.pw_uid, gid=user.pw_gid, far=sandbox.mail.port, bounces=bounces)
    )
    (config / "master.cf").write_text(MASTER.format(port=port))
    for file in ("postfix-files", "dynamicmaps.cf"):
        shutil.copy(Path("/etc/postfix") / file, config)
    started = subprocess.run([program, "-c", str(config), "start"], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    try:
        wait_for_port(port)
        yield port
    finally:
        subprocess.run([program, "-c", str(config), "stop"], capture_output=True, check=True)
