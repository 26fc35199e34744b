"""What is sent to the API by way of example, and what no sandbox can be made to answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.unit.alertd.samples import MISSING_CHILD, changed

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
FACTS = {
    "source": "her mother",
    "taken": "2026-08-14",
    "rights": "consent of both parents",
    "alt": {"es": "Lucía sonríe, pelo castaño", "en": "Lucía smiling, brown hair"},
}
MARIA = {
    "languages": ["es", "en"],
    "kinds": ["missing-child"],
    "places": {"home": {"point": [-5.9845, 37.3891]}, "school": {"region": "41091"}},
    "addresses": [
        {"channel": "sms", "number": "+34612345678"},
        {"channel": "mail", "mailbox": "maria@mail.example"},
    ],
    "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "web form"},
}
SQUARE = {"type": "Polygon", "coordinates": [[[-6.0, 37.3], [-5.9, 37.3], [-5.9, 37.4], [-6.0, 37.4], [-6.0, 37.3]]]}
WATER = """<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">
  <identifier>water-7</identifier>
  <sender>alerts@water.example</sender>
  <sent>{sent}</sent>
  <status>Actual</status>
  <msgType>Alert</msgType>
  <scope>Public</scope>
  <info>
    <language>es</language>
    <category>Health</category>
    <event>Water cut</event>
    <urgency>Immediate</urgency>
    <severity>Severe</severity>
    <certainty>Observed</certainty>
    <headline>Corte de agua</headline>
    <description>No beba agua del grifo hasta nuevo aviso.</description>
    <area><areaDesc>Sevilla</areaDesc><geocode><valueName>INE</valueName><value>41091</value></geocode></area>
  </info>
</alert>
"""
ACK = """<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">
  <identifier>radio-4711</identifier>
  <sender>gateway.radio.example</sender>
  <sent>{sent}</sent>
  <status>Actual</status>
  <msgType>Ack</msgType>
  <scope>Private</scope>
  <addresses>alerts@centre.example</addresses>
  <references>alerts@centre.example,{alert},{sent}</references>
</alert>
"""
#: What no sandbox is asked: carriers, relays and providers of the outside come with proofs of their own.
ELSEWHERE: dict[str, Any] = {
    "go_to_provider": {
        "body": {JSON: {"code": "7K2M-9QXD-4TVB-31HN"}},
        "gives": {
            JSON: {
                "url": "https://sso.centre.example/authorize?response_type=code&client_id=alertd&redirect_uri="
                "https%3A%2F%2Falerts.centre.example%2Fconsole&scope=openid&state=…&nonce=…&code_challenge=…&code_challenge_method=S256"
            }
        },
    },
    "come_from_provider": {
        "body": {
            JSON: {
                "state": "qO0Yx2kPZV3u9eW1rJbTz7mHcLdKfA5sNgQiEoXvBnM",
                "code": "SplxlOBeZQQYbYS6WxSbIA",
                "iss": "https://sso.centre.example",
            }
        },
        "gives": {
            JSON: {
                "organisation": "default",
                "subject": "eva@centre.example",
                "name": "Eva Solís",
                "scopes": ["alerts:approve", "alerts:read", "ledger:explain", "regions:read"],
            }
        },
    },
    "take_receipt": {"body": {FORM: {"MessageStatus": "delivered"}}},
    "take_mail_reports": {
        "body": {
            JSON: {
                "RecordType": "Bounce",
                "Type": "HardBounce",
                "Email": "maria@mail.example",
                "MessageStream": "outbound",
            },
            "text/plain": '{"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:bounces", "Message": "…"}',
        },
        "gives": {JSON: {"taken": 1}},
    },
}


def the_alert(now: datetime, subject: str = "ana@centre.example") -> dict[str, Any]:
    """The README's alert, for a city."""
    document = changed(MISSING_CHILD, "expires", text_of(now + timedelta(hours=14)))
    for moment in ("case/last_seen/at", "case/best_interests/at", "case/verification/publication_risk/at"):
        document = changed(document, moment, text_of(now - timedelta(hours=3)))
    document = changed(document, "author/subject", subject)
    kept = {name: value for name, value in document.items() if name not in {"info", "policy", "publish", "scope"}}
    kept["case"] = {name: value for name, value in kept["case"].items() if value}
    return {**kept, "level": "child-alert", "target": {"regions": ["41091"]}, "channels": ["push", "sms", "mail"]}


def text_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
