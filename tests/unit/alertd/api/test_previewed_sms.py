"""What a preview says of an SMS: how each carrier sends it, how it could be sent otherwise, and at what price."""

from __future__ import annotations

import json
from typing import Any

from alertd.api.alerts.messages import Making, PreviewMessage, messages_reply
from alertd.common.resources import templates_dir
from alertd.model.alert import Alert
from alertd.rendering import THE_ALERT, Renderer
from alertd.rendering.own_texts import NONE
from channels.smpp.channel import SmppChannel
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from channels.text import SmsSettings
from tests.contract.smpp_parties import centre_settings
from tests.unit.alertd.samples import MISSING_CHILD, changed

ES = SmsSettings(tables=("spanish",), transliterate=False)
CENTRE = SmppChannel(centre_settings(host="127.0.0.1", tls=False, system_id="a", password="p", sender="12345", text=ES))
PROVIDER = HttpSmsChannel(HttpSmsSettings(account="AC1", secret="s", sender="12345"))


def previewed(name: str, price: float = 0.05, sms: SmsSettings | None = None) -> PreviewMessage:
    """The Spanish SMS of an alert for a child of this name."""
    document: dict[str, Any] = changed(MISSING_CHILD, "case/children/0/name", {"public": name})
    making = Making(
        renderer=Renderer(templates_dir(), sms=sms),
        texting={"centre": CENTRE, "provider": PROVIDER},
        segment_price=price,
    )
    alert = Alert.model_validate_json(json.dumps(document))
    [message] = messages_reply(making, alert, (["sms"], ["es"]), THE_ALERT, NONE, 1, []).messages
    return message


def ways(message: PreviewMessage, carrier: str) -> list[tuple[Any, ...]]:
    return [
        (one.encoding, one.national_table, one.transliterated, one.segments, one.price, one.used)
        for one in message.codings
        if one.carrier == carrier
    ]


def test_each_way_has_its_price_and_the_one_that_is_used_is_marked():
    """As written in UCS-2, with the Spanish table, or without accents: what the settings of a carrier do not allow is not shown."""
    message = previewed("Inés P.")
    assert ways(message, "centre") == [
        ("gsm7", "spanish", False, 3, 0.15, True),
        ("ucs2", None, False, 5, 0.25, False),
    ]
    assert ways(message, "provider") == [
        ("gsm7", None, True, 3, 0.15, True),
        ("ucs2", None, False, 5, 0.25, False),
    ]
    assert message.name_decides is False
    assert (message.encoding, message.segments) == ("gsm7", 3)
    assert message.text is not None
    assert "Ultimo avistamiento" in message.text


def test_a_preview_says_that_a_name_decides():
    """A name stays as it is, so the provider's SMS is in UCS-2; the centre's table has its letters."""
    message = previewed("Lucía P.")
    assert message.name_decides is True
    assert message.text is not None
    assert "Último avistamiento" in message.text
    assert [one[0] for one in ways(message, "provider")] == ["ucs2"]
    assert ways(message, "centre")[0][:3] == ("gsm7", "spanish", False)


def test_an_sms_tells_more_where_every_carrier_has_the_table():
    """The facts of a long alert are left out by the price of UCS-2 only if some carrier needs it."""
    plain, with_table = previewed("Lucía P."), previewed("Lucía P.", sms=ES)
    assert (plain.encoding, with_table.encoding) == ("ucs2", "gsm7")
    assert with_table.segments is not None
    assert with_table.segments <= 3
    assert len(with_table.left_out) <= len(plain.left_out)


def test_without_a_price_none_is_shown():
    """The number of segments is still there."""
    assert {one.price for one in previewed("Inés P.", price=0).codings} == {None}
