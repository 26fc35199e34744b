"""A mail as it is spliced together."""

import base64
import email
import email.policy
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.base import OPT_OUT_PLACEHOLDER, SAMPLE_OPT_OUT, Loudness, MailMessage, Recipient, Stamp
from channels.mail_message import MailIdentity, encode, header, mailbox, return_path
from channels.smtp_relay import RelaySettings

STAMP = Stamp(chain="c1", version="v1", sent_s=0, expires_s=86_400, loudness=Loudness.LOUD, language="es")
IDENTITY = MailIdentity(sender="Alertas <alerts@a.example>", domain="a.example", unsubscribe_base="https://a.example/")
RECIPIENT = Recipient("p@people.example", "tag_1", leave="leave_1", is_new=True)


def built(text="Lucía, 7 años", subject="Niña desaparecida: 漢字", html="<p>Lucía</p>"):
    payload = encode(MailMessage(stamp=STAMP, subject=subject, text=text, html=html), IDENTITY)
    return payload.to("p@people.example", RECIPIENT, 0)


def parsed(raw):
    assert raw.endswith(b"\r\n.\r\n")
    unstuffed = raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    return email.message_from_bytes(unstuffed, policy=email.policy.default)


def test_a_mail_says_what_it_is_and_how_to_leave():
    """Both forms of the text, one-click leaving, no automatic answers, and the same Message-ID whenever it is repeated."""
    message = parsed(built())
    assert message["To"] == "p@people.example"
    assert message["Subject"] == "Niña desaparecida: 漢字"
    assert message["Message-ID"] == "<tag_1@a.example>"
    assert message["List-Unsubscribe"] == "<https://a.example/u/leave_1>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Precedence"] == "list"
    assert message["Feedback-ID"] == "c1:es:alert:alertd"
    assert message["Date"] == "Thu, 01 Jan 1970 00:00:00 -0000"
    assert (message["X-Alert-Chain"], message["X-Alert-Version"]) == ("c1", "v1")
    assert message.get_body(("plain",)).get_content().strip() == "Lucía, 7 años"
    assert message.get_body(("html",)).get_content().strip() == "<p>Lucía</p>"
    assert return_path(RECIPIENT, IDENTITY) == "bounce+tag_1@a.example"
    assert not message.defects


def test_an_alert_is_one_conversation_whatever_the_domain_is_called():
    """Mail programs read ids as they stand: one in an encoded word is none (RFC 2047 section 5)."""
    identity = replace(IDENTITY, domain="alerts.missing-children.interior.government.example")
    chain = replace(STAMP, chain="01M885E6PQYDF6FR2R1P9138GR")
    raw = encode(MailMessage(stamp=chain, subject="s", text="t", html="h"), identity).to(
        "p@people.example", RECIPIENT, 0
    )
    assert f"\r\nReferences: <{chain.chain}@{identity.domain}>\r\n".encode() in raw


@pytest.mark.parametrize("text", [".", "a\n.\nb", "..x\n.", "x" * 2_000, "ñ" * 2_000, "line\r\nline\rline"])
def test_no_text_can_end_the_mail_early(text):
    """A dot alone on a line is the end of a mail to SMTP, so it is doubled; lines stay short and 7-bit for every relay."""
    raw = built(text)
    assert raw.count(b"\r\n.\r\n") == 1
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) < 998
    got = parsed(raw).get_body(("plain",)).get_content()
    assert got.split() == text.split()


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nBcc: x@y.example",
        "a@b.example, c@d.example",
        "<a@b.example>",
        "a b@c.example",
        "a@b@c.example",
        "@b.example",
        "a@",
        "",
        "a@b.example\u2028",
        "a@" + "b" * 300,
        "a@b..example",
        "a@b＞c.example",
        "a@b，c＠d.example",
        "x@ex＠mple.example",
    ],
)
def test_what_is_no_mailbox_is_never_written(address):
    """Nothing that could add a header, a recipient or a command gets as far as a socket."""
    assert mailbox(address) is None


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("a.b+c@d.example", "a.b+c@d.example"),
        ("ana@münchen.example", "ana@xn--mnchen-3ya.example"),
        ("ana@straße.example", "ana@xn--strae-oqa.example"),  # strasse.example is somebody else's
    ],
)
def test_a_mailbox_is_written_in_ascii_where_it_can_be(address, written):
    """Domains have an ASCII form that every relay knows."""
    assert mailbox(address) == written


@pytest.mark.parametrize(
    "sender",
    [
        "Alerts",
        "Alerts alerts@centre.example",
        "Alerts <alerts@centre.example",
        "Alerts <alerts>",
        "a@b@c.example",
        "Añil <añil@centre.example>",
        "",
    ],
)
def test_a_sender_that_is_none_is_refused_before_anything_is_sent(sender):
    """Relays would refuse every mail, or receivers show a wrong name."""
    with pytest.raises(ValueError, match="mailbox"):
        MailIdentity(sender=sender, domain="centre.example", unsubscribe_base=None)


@pytest.mark.parametrize("before", ["", "x" * 60, "ñ" * 20, "لا", "x" * 75])
def test_each_reader_finds_their_own_link_in_text_and_page(before):
    """The same mail, whoever it is for, but for where they leave; no line is longer than what every relay takes (RFC 2045 6.7)."""
    text = f"{before} https://a.example/u/{OPT_OUT_PLACEHOLDER}\n.\n"
    payload = encode(MailMessage(stamp=STAMP, subject="s", text=text, html=f'<a href="{text}">{before}</a>'), IDENTITY)
    for leave in ("leave_1", "L" * 70):
        raw = payload.to("p@people.example", RECIPIENT._replace(leave=leave), 0)
        message = parsed(raw)
        told = text.replace(OPT_OUT_PLACEHOLDER, leave)
        assert message.get_body(("plain",)).get_content().split() == told.split()
        assert message.get_body(("html",)).get_content().split() == f'<a href="{told}">{before}</a>'.split()
        assert max(map(len, raw.split(b"\r\n\r\n", 1)[1].split(b"\r\n"))) <= 76
        assert OPT_OUT_PLACEHOLDER.encode() not in raw
        assert raw.count(b"\r\n.\r\n") == 1


def test_no_words_of_an_alert_take_a_readers_own_link():
    """A link to elsewhere that says what a preview shows is sent as it is; what stands for the own link is another in each process."""
    text = f"https://evil.example/{SAMPLE_OPT_OUT} https://a.example/u/{OPT_OUT_PLACEHOLDER}"
    told = parsed(built(text=text, html=text)).get_body(("plain",)).get_content().split()
    assert told == [f"https://evil.example/{SAMPLE_OPT_OUT}", "https://a.example/u/leave_1"]
    other = [sys.executable, "-c", "from channels.base import OPT_OUT_PLACEHOLDER; print(OPT_OUT_PLACEHOLDER)"]
    assert OPT_OUT_PLACEHOLDER not in subprocess.run(other, capture_output=True, text=True, check=True).stdout


def test_who_has_no_link_is_not_shown_what_stands_for_it():
    """As in a mail that only tests a relay."""
    payload = encode(
        MailMessage(stamp=STAMP, subject="s", text=OPT_OUT_PLACEHOLDER, html=OPT_OUT_PLACEHOLDER), IDENTITY
    )
    raw = payload.to("p@people.example", RECIPIENT._replace(leave=None), 0)
    assert parsed(raw).get_body(("plain",)).get_content().strip() == SAMPLE_OPT_OUT
    assert OPT_OUT_PLACEHOLDER.encode() not in raw


def test_a_subject_cannot_add_a_header():
    """A line break in the subject fails when it is prepared."""
    with pytest.raises(ValueError, match="linefeed"):
        built(subject="x\r\nBcc: a@b.example")


ENCODED = (
    "=?utf-8?q?=0D=0ABcc=3A_x=40evil.example?=",
    "=?utf-8?b?DQouDQpNQUlMIEZST006PGFAeC5ldT4NClJDUFQgVE86PHZpY3RpbUB5LmV1Pg0KREFUQQ0K?=",
    "=?utf-8?b?DQpYLVg6IDENCg0KaGk=?= =?x?q?y?=",
    "URGENT: =?utf-8?q?hola?= ",
)


@pytest.mark.parametrize("text", ENCODED)
def test_a_text_is_never_decoded(text):
    """An encoded word that somebody writes into a name is shown as it stands: it adds no header and no command."""
    raw = built(subject=text)
    assert parsed(raw)["Subject"] == text
    assert parsed(raw).keys() == parsed(built(subject="x")).keys()
    assert raw.count(b"\r\n.\r\n") == 1


def test_a_sender_is_never_decoded_either():
    """A name of any script, or one that looks encoded, is the name that is shown."""
    for written, name in (
        ("Policía", "Policía"),
        ('"Alertas, S.A."', "Alertas, S.A."),
        ("Alertas, S.A.", "Alertas, S.A."),
        ("Búsqueda, Policía", "Búsqueda, Policía"),
        ("=?utf-8?q?=0D=0AX-X=3A_1?=", "=?utf-8?q?=0D=0AX-X=3A_1?="),
        ("", ""),
    ):
        identity = replace(IDENTITY, sender=f"{written} <a@a.example>")
        payload = encode(MailMessage(stamp=STAMP, subject="s", text="t", html="h"), identity)
        (address,) = parsed(payload.to("p@people.example", RECIPIENT, 0))["From"].addresses
        assert (address.display_name, address.addr_spec) == (name, "a@a.example")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300))
@example("URGENTE – ALERTA: Lucía Peña Muñoz, 7 años")
@example("عاجل – محمد بن عبد الله, 7")
@example("  a  b ")
def test_a_reader_gets_the_very_subject(subject):
    """Each space between names, whatever the script; each line short, each encoded word whole characters (RFC 2047 section 5)."""
    head = header("Subject", subject).decode("ascii")
    assert all(len(line) <= 78 for line in head.split("\r\n"))
    assert decoded(head.removeprefix("Subject: ")) == subject


def decoded(value):
    """As RFC 2047 section 6 says, each word by itself."""
    joined = value.removesuffix("\r\n").replace("?=\r\n =?", "?==?")
    return re.sub(r"=\?utf-8\?b\?([^?]*)\?=", lambda word: base64.b64decode(word[1]).decode(), joined)


def test_a_relay_elsewhere_is_never_spoken_to_in_the_clear():
    """Plain is for this machine, unless somebody says that it may be."""
    RelaySettings(host="127.0.0.1", security="plain")
    RelaySettings(host="relay.example", security="plain", plain_allowed=True)
    with pytest.raises(ValueError, match="starttls"):
        RelaySettings(host="relay.example", security="plain")
