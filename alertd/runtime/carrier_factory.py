"""Makes a carrier from its settings: the channel for its protocol, its limits, and the meaning of its own codes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from alertd.common.clock import Clock, SystemClock, seconds_of
from alertd.common.errors import ConfigError
from alertd.config import settings as config
from alertd.config.carriers import (
    AnyCarrier,
    FcmCarrier,
    SmppCarrier,
    SmsCarrier,
    SmtpCarrier,
    TwilioCarrier,
    WebPushCarrier,
)
from alertd.config.sections import unreadable
from alertd.service.carriers.carriers import UNLIMITED, Carrier, Domain
from channels.access_token import AccessToken
from channels.base import Answer, Channel, Outcome, Reason, Subject
from channels.bounces_hooks import POSTMARK_HEADER, Hook, MailgunHook, PostmarkHook, SesHook
from channels.dkim import DkimSettings, Signer
from channels.fcm import FcmChannel, FcmSettings
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.smpp.channel import SmppChannel
from channels.smpp.session import SessionSettings
from channels.smpp.settings import INTERNATIONAL, SmppSettings
from channels.smpp.words import Word
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from channels.smtp_relay import RelaySettings
from channels.text import SmsSettings
from channels.webpush import HOSTS, WebPushChannel, WebPushSettings


@contextmanager
def usable(name: str) -> Iterator[None]:
    """Turns an OSError or ValueError inside the block, as of a missing file, into a ConfigError that names the carrier."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError(f"carriers.{name} cannot be used: {error}") from None


#: A function that returns the time in UNIX seconds.
_Now = Callable[[], float]


def carrier_of(
    name: str, section: AnyCarrier, settings: config.Settings, number: int = 0, clock: Clock | None = None
) -> Carrier:
    """Makes a carrier from its settings, without opening it.

    `number` stands for the carrier in ledgers (one byte). The `clock` (None: the machine's) gives the time from which messages' times to
    live are counted. Raises ConfigError for settings or files that cannot be used.
    """
    make: dict[str, Callable[..., Channel]] = {
        "fcm": _fcm, "webpush": _webpush, "twilio": _twilio, "smpp": _smpp, "smtp": _smtp,
    }  # fmt: skip
    if faults := [f"carriers.{name}.{fault}" for fault in _faults_of_files(section)]:
        raise ConfigError("\n".join(faults))
    with usable(name):
        channel = make[section.kind](section, settings, name, seconds_of(clock or SystemClock()))
    return Carrier(
        name=name,
        number=number,
        channel=channel,
        kind=section.kind,
        from_files=section.from_files,
        login=_login_of(section),
        rate=section.rate or UNLIMITED,
        burst=section.burst or section.rate or UNLIMITED,
        ramp_s=section.ramp_s,
        weight=section.weight,
        hold=section.on_unknown == "hold",
        domains=_domains(name, section),
    )


def carriers_of(settings: config.Settings, numbers: Mapping[str, int], clock: Clock | None = None) -> list[Carrier]:
    """Makes all carriers of the settings, as `carrier_of` does. `numbers`: by name. Raises one ConfigError with the faults of all."""
    found, faults = list[Carrier](), list[str]()
    for name, section in settings.carriers.items():
        try:
            found.append(carrier_of(name, section, settings, numbers[name], clock))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def _faults_of_files(section: AnyCarrier) -> Iterator[str]:
    """Yields a line for each file in a carrier's options that cannot be used. Skips secrets, which are read with the
    configuration.
    """
    for option, look in (("credentials", _service_account), ("ca_file", _authorities)):
        if path := getattr(section, option, None):
            try:
                look(path)
            except OSError as error:
                yield f"{option}: {unreadable(path, error)}"
            except ValueError as error:
                yield f"{option}: {path} {error}"


def _authorities(path: Path) -> None:
    """Checks a file of certificates. Raises OSError, and ValueError if it contains no certificate."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError("holds no certificate in PEM") from None


def _service_account(path: Path) -> None:
    """Checks a file with a Google service account. Raises OSError, and ValueError if it contains none."""
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        raise ValueError("is empty")
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError("holds no JSON") from None
    if not isinstance(found, dict) or found.get("type") != "service_account":
        is_of_the_app = isinstance(found, dict) and "project_info" in found
        other = "is the app's google-services.json, not a service account"
        raise ValueError(other if is_of_the_app else "holds no service account")
    try:
        AccessToken(found, None)
    except ValueError as error:
        raise ValueError(f"holds no service account: {str(error.__cause__ or error).rstrip('.')}") from None


#: Settings on which a login depends, by kind of carrier. A process with the same values there may use what a worker
#: found: servers limit binds and connections, and only workers know whether a carrier accepts recipients.
_OF_A_LOGIN = {
    "fcm": ("endpoint", "ca_file", "credentials", "project"),
    "webpush": ("endpoint", "ca_file", "hosts", "private_key"),
    "twilio": ("endpoint", "ca_file", "account", "password"),
    "smpp": ("host", "port", "tls", "ca_file", "system_id", "password", "system_type"),
    "smtp": ("host", "port", "tls", "ca_file", "user", "password"),
}


def _login_of(section: AnyCarrier) -> str:
    """Returns the settings on which a carrier's login depends, as a text to compare."""
    values = {name: getattr(section, name) for name in _OF_A_LOGIN[section.kind]}
    return json.dumps(
        {name: one.get_secret_value() if isinstance(one, SecretStr) else one for name, one in values.items()},
        default=str, sort_keys=True,
    )  # fmt: skip


def _domains(carrier: str, section: AnyCarrier) -> dict[str, Domain]:
    """Returns the limits of a mail carrier's domains, by each name of the domain. {} for other carriers."""
    limits = section.domains if isinstance(section, SmtpCarrier) else None
    found: dict[str, Domain] = {}
    for name, limit in (limits or {}).items():
        domain = Domain(name=name, limiter=f"{carrier}/{name}", rate=limit.rate or UNLIMITED)
        found |= dict.fromkeys((name, *limit.also), domain)
    return found


def _fcm(section: FcmCarrier, _settings: config.Settings, _name: str, now: _Now) -> Channel:
    """Makes the channel of a push carrier (FCM)."""
    return FcmChannel(
        FcmSettings(
            credentials=str(section.credentials),
            project_id=section.project,
            endpoint=section.endpoint,
            ca_file=str(section.ca_file) if section.ca_file else None,
            critical=section.critical,
            connections=section.connections,
            timeout_s=section.timeout_s,
        ),
        now,
    )


def _webpush(section: WebPushCarrier, _settings: config.Settings, _name: str, now: _Now) -> Channel:
    """Makes the channel of a web push carrier."""
    return WebPushChannel(
        WebPushSettings(
            private_key=section.private_key.get_secret_value(),
            contact=section.contact,
            hosts=section.hosts or HOSTS,
            endpoint=section.endpoint,
            ca_file=str(section.ca_file) if section.ca_file else None,
            connections=section.connections,
            timeout_s=section.timeout_s,
        ),
        now,
    )


def _twilio(section: TwilioCarrier, settings: config.Settings, name: str, now: _Now) -> Channel:
    """Makes the channel of an SMS carrier with Twilio's HTTP interface. Its reports come to a URL of the API with the carrier's name."""
    return HttpSmsChannel(
        HttpSmsSettings(
            account=section.account,
            secret=section.password.get_secret_value(),
            sender=section.sender,
            endpoint=section.endpoint,
            text=sms_settings(section),
            callback_base=f"{settings.api.reached_at}/v1/receipts/{name}",
            ca_file=str(section.ca_file) if section.ca_file else None,
            connections=section.connections,
            timeout_s=section.timeout_s,
        ),
        now,
    )


def sms_settings(section: SmsCarrier) -> SmsSettings:
    """Returns how this carrier may encode an SMS."""
    tables = tuple(section.national_tables) if isinstance(section, SmppCarrier) else ()
    return SmsSettings(tables=tables, transliterate=section.transliterate)


def common_sms_settings(sections: Iterable[AnyCarrier]) -> SmsSettings:
    """Returns the encodings of SMS that every SMS carrier supports. Any of them may send a text, so the text must not be too long for one."""
    each = [sms_settings(one) for one in sections if isinstance(one, SmsCarrier)]
    if not each:
        return SmsSettings()
    tables = tuple(name for name in each[0].tables if all(name in one.tables for one in each))
    return SmsSettings(tables=tables, transliterate=all(one.transliterate for one in each))


#: Words that the settings can assign to a carrier's own status codes, and the outcome that each means.
_MEANINGS = {
    "opted-out": Outcome(Answer.NEVER, Reason.GONE),  # see `Removal`
    "blocked": Outcome(Answer.NEVER, Reason.BLOCKED),
    "invalid": Outcome(Answer.NEVER, Reason.BAD_ADDRESS),
    "again": Outcome(Answer.RETRY, Reason.UNAVAILABLE, of=Subject.RECIPIENT),
}
#: Seconds for which this process keeps a receipt whose message it does not know. Then it looks for the message in the
#: store, which keeps the receipt if it has none either.
_PATIENCE_S = 1.0


def _smpp(section: SmppCarrier, _settings: config.Settings, _name: str, now: _Now) -> Channel:
    """Makes the channel of an SMS centre (SMPP)."""
    return SmppChannel(
        SmppSettings(
            host=section.host,
            port=section.port,
            tls=section.tls,
            plain_allowed=section.plain_allowed,
            ca_file=str(section.ca_file) if section.ca_file else None,
            session=SessionSettings(
                system_id=section.system_id,
                password=section.password.get_secret_value(),
                system_type=section.system_type,
                window=section.window,
                timeout_s=section.timeout_s,
                enquire_s=section.enquire_s,
                statuses={code: _MEANINGS[word] for code, word in (section.statuses or {}).items()},
            ),
            service_type=section.service_type,
            sender=section.sender,
            sender_numbering=section.sender_numbering,
            number_numbering=section.number_numbering or INTERNATIONAL,
            calling_code=section.calling_code or "",
            binds=section.connections,
            receivers=section.receivers,
            text=sms_settings(section),
            long=section.long,
            validity=section.validity,
            receipt_ids=section.receipt_ids,
            patience_s=_PATIENCE_S,
            languages=tuple(section.languages),
            words={word: Word(meaning) for word, meaning in (section.words or {}).items()},
        ),
        now,
    )


def _smtp(section: SmtpCarrier, settings: config.Settings, _name: str, now: _Now) -> Channel:
    """Makes the channel of a mail relay (SMTP). Bounces go to the domain `bounces`, else to that of the sender."""
    relay = RelaySettings(
        host=section.host,
        port=section.port,
        security=section.tls,
        plain_allowed=section.plain_allowed,
        username=section.user,
        password=section.password.get_secret_value() if section.password else None,
        ca_file=str(section.ca_file) if section.ca_file else None,
        connections=section.connections,
        timeout_s=section.timeout_s,
    )
    domain = section.bounces or section.sender.rpartition("@")[2].rstrip(">")
    signers = tuple(
        Signer(DkimSettings(domain=one.domain, selector=one.selector, key=one.key.get_secret_value()))
        for one in section.dkim or ()
    )
    identity = MailIdentity(
        sender=section.sender,
        domain=domain,
        unsubscribe_base=settings.api.reached_at,
        signers=signers,
        tag_header=POSTMARK_HEADER if section.reports == "postmark" else None,
    )
    return MailChannel(relay, identity, now, hook=_hook(section, now))


def _hook(section: SmtpCarrier, now: _Now) -> Hook | None:
    """Returns the reader of the reports that the mail service sends (SES, Postmark or Mailgun), None if no reports are set up."""
    secret = section.reports_secret.get_secret_value() if section.reports_secret else ""
    match section.reports:
        case "ses":
            return SesHook(section.reports_topic or "")
        case "postmark":
            return PostmarkHook(secret)
        case "mailgun":
            return MailgunHook(secret, now)
        case None:
            return None
