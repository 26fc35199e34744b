"""The public side of an installation, for tests of sign-up and of the settings behind its links."""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email import policy
from typing import Any

from aiohttp.test_utils import TestClient

from alertd.model.states import CHANNELS
from alertd.service.container import Container
from alertd.store.engine import keys
from channels.sandbox import Sandbox
from tests.clocks import Later

MAIL = CHANNELS.index("mail")
BOX = "Ana.Reyes@people.example"
LINK = re.compile(r"http://127\.0\.0\.1:8080(/(?:subscribe/confirm|me)/[A-Za-z0-9_-]+)")
FORM = re.compile(r'name="form" value="([^"]+)"')


@dataclass
class Public:
    """The public side of an installation, and what its relay took."""

    parts: Container
    client: TestClient
    sandbox: Sandbox
    clock: Later

    async def get(self, path: str, language: str = "en") -> tuple[int, str]:
        async with self.client.get(path, headers={"Accept-Language": language}) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **fields: str) -> tuple[int, str]:
        async with self.client.post(path, data=fields, headers={"Accept-Language": "en"}) as answer:
            return answer.status, await answer.text()

    async def ask(self, mailbox: str = BOX, **fields: str) -> tuple[int, str]:
        """Fill in the form as a person does, and press its button."""
        _, form = await self.get("/subscribe")
        self.clock.pass_by(5)
        said = {"place": "Sevilla", "region": "41091", "mailbox": mailbox, "consent": "1", "form": FORM.search(form)[1]}
        return await self.post("/subscribe", **(said | fields))

    async def mails(self) -> dict[str, Any]:
        """Let a worker send what waits. Answers the last mail of each mailbox."""
        while await self.parts.db.execute("LLEN", keys.SIGN_UPS):
            await self.parts.sign_up_mails.round(lambda _: True)
            await self.parts.sign_up_mails.settled()
        kept = self.sandbox.mail.mails
        return {to: email.message_from_bytes(raw, policy=policy.default) for to, raw in kept.items()}

    async def link(self, mailbox: str = BOX) -> str:
        """The path that the last mail of a mailbox leads to."""
        text = (await self.mails())[mailbox].get_body(("plain",)).get_content()
        return LINK.search(text)[1]

    async def signed_up(self, mailbox: str = BOX) -> str:
        """Sign up and confirm. Answers the path of the person's own settings."""
        await self.ask(mailbox)
        _, page = await self.post(await self.link(mailbox))
        return "/me/" + re.search(r'href="../../me/([^"]+)"', page)[1]


async def found(public: Public, mailbox: str = BOX) -> Any:
    return await public.parts.registry.lookup(MAIL, mailbox)
