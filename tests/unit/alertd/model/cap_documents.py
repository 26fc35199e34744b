"""CAP documents, written here: a whole one, and changes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

#: When what is `named` was sent.
SENT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"

WHOLE = f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="{NAMESPACE}">
  <identifier>sv-2026-7</identifier>
  <sender>agua@ciudad.example</sender>
  <sent>2026-11-25T08:00:00+01:00</sent>
  <status>Actual</status>
  <msgType>Alert</msgType>
  <source>Emasesa</source>
  <scope>Public</scope>
  <code>water</code>
  <note>For all districts</note>
  <references>agua@ciudad.example,sv-2026-6,2026-11-24T08:00:00+01:00</references>
  <incidents>corte-7</incidents>
  <info>
    <language>es-ES</language>
    <category>Health</category>
    <category>Infra</category>
    <event>Corte de agua</event>
    <responseType>Avoid</responseType>
    <urgency>Immediate</urgency>
    <severity>Severe</severity>
    <certainty>Observed</certainty>
    <audience>Vecinos</audience>
    <eventCode><valueName>SAME</valueName><value>CEM</value></eventCode>
    <effective>2026-11-25T08:05:00+01:00</effective>
    <onset>2026-11-25T08:10:00+01:00</onset>
    <expires>2026-11-25T20:00:00+01:00</expires>
    <senderName>Aguas de Sevilla</senderName>
    <headline>No beba agua del grifo</headline>
    <description>Hay una avería en la red &amp; el agua no es potable.</description>
    <instruction>Use agua embotellada.</instruction>
    <web>https://agua.example/7</web>
    <contact>900 000 000</contact>
    <parameter><valueName>sector</valueName><value>12</value></parameter>
    <parameter><valueName>empty</valueName><value/></parameter>
    <resource>
      <resourceDesc>Plano</resourceDesc>
      <mimeType>image/png</mimeType>
      <size>1200</size>
      <uri>https://agua.example/7.png</uri>
      <digest>da39a3ee5e6b4b0d3255bfef95601890afd80709</digest>
    </resource>
    <area>
      <areaDesc>Sevilla</areaDesc>
      <polygon>37.40,-6.02 37.40,-5.95 37.36,-5.95 37.36,-6.02 37.40,-6.02</polygon>
      <circle>37.39,-5.98 2.5</circle>
      <geocode><valueName>INE</valueName><value>41091</value></geocode>
      <altitude>10</altitude>
      <ceiling>200.5</ceiling>
    </area>
  </info>
  <info>
    <category>Health</category>
    <event>Water cut</event>
    <urgency>Immediate</urgency>
    <severity>Severe</severity>
    <certainty>Likely</certainty>
    <area>
      <areaDesc>Seville</areaDesc>
    </area>
  </info>
</alert>
"""


def changed(old: str, new: str, document: str = WHOLE) -> bytes:
    """The document with one text in place of another, where that first stands; it must be there."""
    assert old in document, old
    return document.replace(old, new, 1).encode()


def element(name: str, text: str) -> tuple[str, str]:
    """The first element of this name in the whole document, and the same with another text."""
    start = WHOLE.index(f"<{name}>")
    end = WHOLE.index(f"</{name}>", start)
    old = WHOLE[start:end]
    return old, f"<{name}>{text}"


CANCEL = f"""<alert xmlns="{NAMESPACE}">
  <identifier>sv-2026-8</identifier>
  <sender>agua@ciudad.example</sender>
  <sent>2026-11-25T09:00:00+01:00</sent>
  <status>Actual</status>
  <msgType>Cancel</msgType>
  <scope>Public</scope>
  <references>agua@ciudad.example,sv-2026-7,2026-11-25T08:00:00+01:00</references>
</alert>
"""


def named(identifier: str, document: str = WHOLE, *, status: str = "Actual") -> str:
    """The document under a name of its own, sent a moment ago, to all of Spain."""
    for old, new in (
        ("sv-2026-7", identifier),
        ("sv-2026-8", f"{identifier}-over"),
        ("2026-11-25T08:00:00+01:00", SENT.isoformat()),
        ("2026-11-25T20:00:00+01:00", (SENT + timedelta(hours=12)).isoformat()),
        ("2026-11-24T08:00:00+01:00", (SENT - timedelta(days=1)).isoformat()),
        (">Actual<", f">{status}<"),
        ("<circle>37.39,-5.98 2.5</circle>", ""),
        ("<polygon>37.40,-6.02 37.40,-5.95 37.36,-5.95 37.36,-6.02 37.40,-6.02</polygon>", ""),
        ("<valueName>INE</valueName><value>41091</value>", "<valueName>ISO 3166-1</valueName><value>ES</value>"),
    ):
        document = document.replace(old, new)
    return document
