"""The configuration tables of carriers: options that every carrier has, and options of each kind."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from alertd.config.sections import MOST_PORT, Listening, Secret, Section
from alertd.model.kinds import Channel
from channels.text import TableName


class Carrier(Section):
    """The options of every carrier: its limits, and how to handle a message without an answer."""

    channel: ClassVar[Channel]
    rate: float | None = Field(None, ge=0)
    burst: float | None = Field(None, ge=1)
    ramp_s: float = Field(0.0, ge=0)
    weight: float = Field(1.0, ge=0)
    on_unknown: Literal["resend", "hold"] = "resend"
    timeout_s: float = Field(15.0, gt=0)
    connections: int = Field(32, ge=1)


class FcmCarrier(Carrier):
    """Options of a push carrier: Firebase Cloud Messaging."""

    channel = Channel.PUSH
    kind: Literal["fcm"]
    credentials: Path
    project: str | None = None
    endpoint: str = "https://fcm.googleapis.com"
    ca_file: Path | None = None
    critical: bool = False
    rate: float | None = Field(9_000.0, ge=0)
    ramp_s: float = Field(60.0, ge=0)
    connections: int = Field(800, ge=1)


class WebPushCarrier(Carrier):
    """Options of a web push carrier: the push services of browsers."""

    channel = Channel.WEBPUSH
    kind: Literal["webpush"]
    private_key: Secret
    contact: str
    hosts: tuple[str, ...] | None = None
    endpoint: str | None = None
    ca_file: Path | None = None
    connections: int = Field(400, ge=1)


class SmsCarrier(Carrier):
    """The options of all SMS carriers."""

    channel = Channel.SMS
    sender: str
    password: Secret
    ca_file: Path | None = None
    on_unknown: Literal["resend", "hold"] = "hold"
    transliterate: bool = True


class TwilioCarrier(SmsCarrier):
    """Options of an SMS carrier with Twilio's HTTP interface."""

    kind: Literal["twilio"]
    account: str
    endpoint: str = "https://api.twilio.com"


#: Languages for which alertd knows the words that stop and restart messages.
Spoken = Literal["ar", "de", "en", "es", "fr", "hi", "it", "pl", "pt", "tr", "uk", "zh"]


def _status(value: Any) -> Any:
    """Returns an SMPP status as a number, from a number or from a text as in carriers' manuals (`0x400` is 1024)."""
    return int(value, 0) if isinstance(value, str) else value


class SmppCarrier(SmsCarrier):
    """Options of an SMS carrier that is an SMS centre, reached by SMPP."""

    kind: Literal["smpp"]
    host: str
    port: int = Field(3550, ge=1, le=MOST_PORT)
    tls: bool = True
    plain_allowed: bool = False
    system_id: str
    system_type: str = ""
    service_type: str = ""
    sender_numbering: tuple[int, int] | None = None
    number_numbering: tuple[int, int] | None = None
    calling_code: str | None = Field(None, pattern=r"^[1-9][0-9]{0,2}$")
    connections: int = Field(1, ge=1)
    receivers: int = Field(0, ge=0)
    window: int = Field(50, ge=1)
    enquire_s: float = Field(30.0, gt=0)
    national_tables: list[TableName] = Field([])
    long: Literal["udh", "payload"] = "udh"
    validity: Literal["relative", "absolute", "none"] = "relative"
    receipt_ids: Literal["same", "hex-then-decimal", "decimal-then-hex"] = "same"
    statuses: (
        dict[Annotated[int, BeforeValidator(_status)], Literal["opted-out", "blocked", "invalid", "again"]] | None
    ) = None
    languages: list[Spoken] = Field(list(get_args(Spoken)))
    words: dict[str, Literal["stop", "start", "help"]] | None = None


class DkimKey(Section):
    """A DKIM key that signs mails, with its domain and selector."""

    domain: str
    selector: str
    key: Secret


def _domain(name: str) -> str:
    """Returns the domain name. Raises if it is no domain in small letters."""
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", name):
        raise PydanticCustomError("domain", "a domain in small letters, as it stands after the @")
    return name


DomainName = Annotated[str, AfterValidator(_domain)]


class DomainLimit(Section):
    """The send rate (mails a second) for one mailbox provider. `also` lists further domains of the provider."""

    rate: float | None = Field(None, gt=0)
    also: tuple[DomainName, ...] = ()


class SmtpCarrier(Carrier):
    """Options of a mail carrier: an SMTP relay."""

    channel = Channel.MAIL
    kind: Literal["smtp"]
    host: str
    port: int = Field(587, ge=1, le=MOST_PORT)
    tls: Literal["starttls", "tls", "plain"] = "starttls"
    plain_allowed: bool = False
    user: str | None = None
    password: Secret | None = None
    sender: str
    bounces: str | None = None
    bounces_listen: Listening = ""
    reports: Literal["ses", "postmark", "mailgun"] | None = None
    reports_secret: Secret | None = None
    reports_topic: str | None = None
    dkim: tuple[DkimKey, ...] | None = None
    domains: dict[DomainName, DomainLimit] | None = None
    ca_file: Path | None = None
    timeout_s: float = Field(60.0, gt=0)
    connections: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _domains_are_named_once(self) -> Self:
        """Raises if two entries of `domains` name the same domain."""
        names = Counter(name for first, limit in (self.domains or {}).items() for name in (first, *limit.also))
        for name, times in names.items():
            if times > 1:
                raise PydanticCustomError("domain_twice", "{name} has two limits in domains", {"name": name})
        return self

    @model_validator(mode="after")
    def _who_enters_has_a_password(self) -> Self:
        """Raises if only one of `user` and `password` is set."""
        if bool(self.user) != bool(self.password and self.password.get_secret_value()):
            raise PydanticCustomError("half", "user and password belong together")
        return self

    @model_validator(mode="after")
    def _reports_are_proven(self) -> Self:
        """Raises if the option that authenticates the mail service's reports is missing."""
        needed = {"ses": "reports_topic", "postmark": "reports_secret", "mailgun": "reports_secret"}
        if self.reports and getattr(self, needed[self.reports]) is None:
            raise PydanticCustomError(
                "unproven",
                'reports = "{relay}" needs {option}',
                {"relay": self.reports, "option": needed[self.reports]},
            )
        return self


AnyCarrier = Annotated[
    FcmCarrier | WebPushCarrier | TwilioCarrier | SmppCarrier | SmtpCarrier, Field(discriminator="kind")
]
CARRIERS: tuple[type[Carrier], ...] = (FcmCarrier, WebPushCarrier, TwilioCarrier, SmppCarrier, SmtpCarrier)
KINDS_OF_CARRIER = {get_args(one.model_fields["kind"].annotation)[0]: one for one in CARRIERS}
