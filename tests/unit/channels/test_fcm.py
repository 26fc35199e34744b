"""What a call to many keeps when something of ours fails in the middle of it."""

from channels.access_token import AccessToken
from channels.base import Answer, Loudness, PushMessage, Recipient, Stamp
from channels.fcm import FcmChannel, FcmSettings
from channels.lanes import FAULT
from channels.posting import Reply
from channels.sandbox.authority import make_service_account

STAMP = Stamp(chain="c", version="v", sent_s=1, expires_s=5_000, loudness=Loudness.LOUD, language="es")


class Carrier:
    """Takes every message but those to `refused`, whose access token it does not like."""

    async def post(self, bodies, headers, may_write):
        del headers, may_write
        return [Reply(401, {}, b"{}") if b"refused" in body else Reply(200, {}, b'{"name": "x"}') for body in bodies]


async def test_a_fault_in_trying_again_costs_only_whom_it_was_for(tmp_path, monkeypatch):
    """Another access token is fetched, and a page comes instead, which google-auth stumbles over: the others were sent to."""
    fetched = iter([("token", 9e9)])
    monkeypatch.setattr(AccessToken, "_fetch", lambda _: next(fetched, None) or {}[0])
    account = make_service_account(tmp_path, "https://127.0.0.1:1/token")
    channel = FcmChannel(FcmSettings(credentials=str(account.file)), lambda: 1.0, Carrier())
    recipients = [Recipient(name, "t") for name in ("a", "refused", "b")]
    outcomes = await channel.send(
        channel.prepare(PushMessage(stamp=STAMP, title="t", body="b")), recipients, lambda: True
    )
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED, FAULT.answer, Answer.ACCEPTED]
