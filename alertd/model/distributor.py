"""The document of a distributor: a broadcast gateway or partner that receives alerts as CAP. No I/O and no clock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alertd.model.alert import Status
from alertd.model.fields import MAX_LANGUAGES, Document, Language, Line
from alertd.model.kinds import Level
from alertd.model.organisation import Jurisdiction


class Distributor(Document):
    """An organisation that passes alerts on, and the alerts it receives."""

    name: Line = Field(examples=["Radio Sevilla"])
    url: str = Field(
        max_length=1000, examples=["https://gateway.radio.example/cap"],
        description="CAP documents are posted to it: plain https on the public internet.",
    )  # fmt: skip
    profile: Literal["ipaws", "cap-cp"] | None = Field(
        None, description="What it wants beside CAP 1.2, as for `GET /v1/alerts/{id}.cap`."
    )
    languages: Annotated[tuple[Language, ...], Field(max_length=MAX_LANGUAGES, examples=[["es"]])] = Field(
        (), description="It gets these of an alert's, or all where an alert has none of them; none: all."
    )
    statuses: Annotated[tuple[Status, ...], Field(min_length=1, max_length=len(Status))] = Field(
        (Status.ACTUAL,), description="A Test or an Exercise goes only to who takes it."
    )
    levels: Annotated[tuple[Level, ...], Field(max_length=len(Level))] = Field((), description="None: all.")
    jurisdiction: Jurisdiction | None = Field(
        None, description="It gets alerts with an area that overlaps this one; null: all."
    )
    acknowledges: bool = Field(
        True,
        description="It confirms by CAP Acks, in its answers or posted to `receipts`. False: a status from 200 to 299 is its word, also that it took an alert down.",
    )
    enabled: bool = Field(
        True,
        description="False: it gets no new alert. It still gets every later version of the alerts it has, the Cancel too.",
    )
