"""Configuration: one TOML file, `ALERTD_*` in the environment above it, secrets from `*_file`.

Every option stands in `ops/alertd.toml` with its default and why; a test compares the two. An option nobody knows is
refused with the nearest name. This is the only file that reads the environment.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from alertd.kinds import Channel

#: A record that someone moved away from stays for 12 s, so that a query begun before the move still finds them: a query
#: that ran on for longer than this, with a margin for clocks and for the move itself, could find them nowhere.
LONGEST_QUERY_S = 5.0


class ConfigError(ValueError):
    """The configuration cannot be used; the message names each option and what to do."""


class Section(BaseModel):
    """A table of the file. Unknown options are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: Any) -> Any:
        """`password_file = "..."` gives `password` without its trailing newline."""
        if not isinstance(values, dict):
            return values
        read = dict(values)
        for name in values:
            secret = name.removesuffix("_file")
            if name.endswith("_file") and name not in cls.model_fields and secret in cls.model_fields:
                read[secret] = Path(read.pop(name)).read_text(encoding="utf-8").rstrip("\n")
        return read


class StoreSection(Section):
    url: str | None = None
    directory: Path = Path("alertd-data")
    server: Path | None = None
    maxmemory_mb: int = Field(0, ge=0)
    reserve_mb: int = Field(512, ge=0)
    replicas_required: int = Field(0, ge=0, le=1)
    ballast_mb: int = Field(64, ge=0)
    master_key: SecretStr | None = None
    hash_key: SecretStr | None = None
    tombstones: Path | None = None
    sandbox: bool = False

    @property
    def tombstones_file(self) -> Path:
        """Beside the directory, so that no copy of it contains it."""
        return self.tombstones or self.directory.with_name(f"{self.directory.name}.tombstones")

    @property
    def reserve_bytes(self) -> int:
        """What is kept free of the disk of the data."""
        return self.reserve_mb * 1024 * 1024

    @property
    def regions(self) -> Path:
        """The folder of regions of one's own."""
        return self.directory / "regions"


class ApiSection(Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    public_url: str | None = None
    body_mb: int = Field(10, ge=1)

    @property
    def own_url(self) -> str:
        """Where it listens."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def reached_at(self) -> str:
        """What others are told: carriers that report back, and people who leave."""
        return self.public_url or self.own_url


class SignInSection(Section):
    rp_id: str = Field("", pattern=r"^[a-z0-9.-]*$")
    origins: list[Annotated[str, Field(pattern=r"^https?://[^/]+$")]] = []
    idle_minutes: int = Field(30, ge=1)
    longest_hours: int = Field(12, ge=1, le=168)
    code_minutes: int = Field(60, ge=1, le=1440)
    address_header: str = Field("", pattern=r"^[A-Za-z0-9-]*$")


class OidcSection(Section):
    """Whether operators sign in by an OpenID provider too, and at which."""

    issuer: str = Field("", pattern=r"^(https://[^\s?#@\\]+|http://127\.0\.0\.1:[0-9]+[^\s?#@\\]*)?$")
    name: str = Field("", max_length=40)
    client_id: str = Field("", max_length=255)
    client_secret: SecretStr | None = None
    acr: list[str] = []
    own_network: bool = False
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _issuers_know_us(self) -> Self:
        if bool(self.issuer) != bool(self.client_id):
            raise PydanticCustomError("half", "issuer and client_id belong together")
        return self


class WorkerSection(Section):
    processes: int = Field(0, ge=0)
    lanes: int = Field(8, ge=1)
    chunk: int = Field(100, ge=1, le=100)
    poll_ms: int = Field(50, ge=5)
    attempts: int = Field(8, ge=1, le=31)
    metrics: str = ""


def _ends_in_time(seconds: float) -> float:
    if seconds > LONGEST_QUERY_S:
        raise PydanticCustomError(
            "deadline",
            "at most {most} s: a search that took longer could miss people who move meanwhile",
            {"most": f"{LONGEST_QUERY_S:g}"},
        )
    return seconds


class AudienceSection(Section):
    deadline_s: Annotated[float, Field(gt=0), AfterValidator(_ends_in_time)] = LONGEST_QUERY_S
    region_share: float = Field(0.1, gt=0, le=1)
    least_km2: float = Field(0.2, ge=0)
    least_people: int = Field(20, ge=0)
    drift_share: float = Field(0.01, ge=0, le=1)


class RetentionSection(Section):
    compress_days: int = Field(30, ge=2)  # what tells of an end is told for a day
    ledger_days: int = Field(0, ge=0)
    sought_days: int = Field(7, ge=1, le=365)


class BudgetSection(Section):
    alert_segments: int = Field(0, ge=0)
    day_segments: int = Field(0, ge=0)
    segment_price: float = Field(0.0, ge=0)
    alert_cost: float = Field(0.0, ge=0)
    day_cost: float = Field(0.0, ge=0)

    @property
    def most(self) -> tuple[int, int]:
        """Segments of an alert and of an organisation's day, the narrower of both limits; 0: no limit."""
        return self._segments(self.alert_segments, self.alert_cost), self._segments(self.day_segments, self.day_cost)

    def _segments(self, segments: int, cost: float) -> int:
        priced = int(cost / self.segment_price + 1e-9) if cost and self.segment_price else 0
        return min(segments, priced) if segments and priced else segments or priced

    @model_validator(mode="after")
    def _costs_have_a_price(self) -> Self:
        if (self.alert_cost or self.day_cost) and not self.segment_price:
            raise PydanticCustomError("unpriced", "a limit of costs needs segment_price")
        if any(cost and cost < self.segment_price for cost in (self.alert_cost, self.day_cost)):
            raise PydanticCustomError("unpayable", "a limit of costs is at least one segment_price")
        return self


class AlertSection(Section):
    organisation: str = Field("default", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    border_share: float = Field(0.02, ge=0, le=0.5)


class CapIssuer(Section):
    """A certificate that is known, and the senders whose documents it may be on."""

    certificate: SecretStr
    senders: tuple[str, ...]


class CapSection(Section):
    sender: str = Field("", pattern=r"^[^\s,<&]*$", max_length=200)
    key: SecretStr | None = None
    certificate: SecretStr | None = None
    issuers: tuple[CapIssuer, ...] | None = None


class MediaSection(Section):
    unused_hours: int = Field(24, ge=1)
    waiting: int = Field(200, ge=1)


class EventSection(Section):
    keep: int = Field(100_000, ge=1_000)
    keep_days: int = Field(30, ge=4)  # webhooks are tried for three days


class WebhookSection(Section):
    timeout_s: float = Field(15.0, ge=1, le=30)
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = [443]
    loopback: bool = False


class Carrier(Section):
    """What every carrier has: its limits and what to do when it leaves us without an answer."""

    channel: ClassVar[Channel]
    rate: float | None = Field(None, ge=0)
    burst: float | None = Field(None, ge=1)
    ramp_s: float = Field(0.0, ge=0)
    weight: float = Field(1.0, ge=0)
    on_unknown: Literal["resend", "hold"] = "resend"
    timeout_s: float = Field(15.0, gt=0)
    connections: int = Field(32, ge=1)


class FcmCarrier(Carrier):
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


class TwilioCarrier(Carrier):
    channel = Channel.SMS
    kind: Literal["twilio"]
    account: str
    password: SecretStr
    sender: str
    endpoint: str = "https://api.twilio.com"
    ca_file: Path | None = None
    on_unknown: Literal["resend", "hold"] = "hold"


#: Languages whose words for stop and start are known.
Spoken = Literal["ar", "de", "en", "es", "fr", "hi", "it", "pl", "pt", "tr", "uk", "zh"]


def _status(value: Any) -> Any:
    """`0x400` as manuals write it, or 1024."""
    return int(value, 0) if isinstance(value, str) else value


class SmppCarrier(Carrier):
    channel = Channel.SMS
    kind: Literal["smpp"]
    host: str
    port: int = Field(3550, ge=1, le=65535)
    tls: bool = True
    plain_allowed: bool = False
    ca_file: Path | None = None
    system_id: str
    password: SecretStr
    system_type: str = ""
    service_type: str = ""
    sender: str
    sender_numbering: tuple[int, int] | None = None
    number_numbering: tuple[int, int] | None = None
    on_unknown: Literal["resend", "hold"] = "hold"
    connections: int = Field(1, ge=1)
    receivers: int = Field(0, ge=0)
    window: int = Field(50, ge=1)
    enquire_s: float = Field(30.0, gt=0)
    long: Literal["udh", "payload"] = "udh"
    validity: Literal["relative", "absolute", "none"] = "relative"
    receipt_ids: Literal["same", "hex-then-decimal", "decimal-then-hex"] = "same"
    statuses: dict[Annotated[int, BeforeValidator(_status)], Literal["gone", "blocked", "invalid", "again"]] | None = (
        None
    )
    languages: list[Spoken] = list(get_args(Spoken))
    words: dict[str, Literal["stop", "start", "help"]] | None = None


class DkimKey(Section):
    """One key that signs mails."""

    domain: str
    selector: str
    key: SecretStr


def _domain(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", name):
        raise PydanticCustomError("domain", "a domain in small letters, as it stands after the @")
    return name


DomainName = Annotated[str, AfterValidator(_domain)]


class DomainLimit(Section):
    """What one provider of mailboxes takes."""

    rate: float | None = Field(None, gt=0)
    also: tuple[DomainName, ...] = ()


class SmtpCarrier(Carrier):
    channel = Channel.MAIL
    kind: Literal["smtp"]
    host: str
    port: int = Field(587, ge=1, le=65535)
    tls: Literal["starttls", "tls", "plain"] = "starttls"
    plain_allowed: bool = False
    user: str | None = None
    password: SecretStr | None = None
    sender: str
    bounces: str | None = None
    bounces_listen: str = Field("", pattern=r"^(.+:[0-9]{1,5})?$")
    reports: Literal["ses", "postmark", "mailgun"] | None = None
    reports_secret: SecretStr | None = None
    reports_topic: str | None = None
    dkim: tuple[DkimKey, ...] | None = None
    domains: dict[DomainName, DomainLimit] | None = None
    ca_file: Path | None = None
    timeout_s: float = Field(60.0, gt=0)
    connections: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _domains_are_named_once(self) -> Self:
        names = Counter(name for first, limit in (self.domains or {}).items() for name in (first, *limit.also))
        for name, times in names.items():
            if times > 1:
                raise PydanticCustomError("domain_twice", "{name} has two limits in domains", {"name": name})
        return self

    @model_validator(mode="after")
    def _reports_are_proven(self) -> Self:
        needed = {"ses": "reports_topic", "postmark": "reports_secret", "mailgun": "reports_secret"}
        if self.reports and getattr(self, needed[self.reports]) is None:
            raise PydanticCustomError(
                "unproven",
                'reports = "{relay}" needs {option}',
                {"relay": self.reports, "option": needed[self.reports]},
            )
        return self


AnyCarrier = Annotated[FcmCarrier | TwilioCarrier | SmppCarrier | SmtpCarrier, Field(discriminator="kind")]
CARRIERS: tuple[type[Carrier], ...] = (FcmCarrier, TwilioCarrier, SmppCarrier, SmtpCarrier)
_KINDS = {get_args(one.model_fields["kind"].annotation)[0]: one for one in CARRIERS}


class Settings(BaseSettings):
    """Everything, frozen. `ALERTD_API__PORT=0` in the environment is `port` of `[api]`."""

    model_config = SettingsConfigDict(env_prefix="ALERTD_", env_nested_delimiter="__", extra="forbid", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    store: StoreSection = StoreSection()
    api: ApiSection = ApiSection()
    sign_in: SignInSection = SignInSection()
    oidc: OidcSection = OidcSection()
    worker: WorkerSection = WorkerSection()
    audience: AudienceSection = AudienceSection()
    alerts: AlertSection = AlertSection()
    budget: BudgetSection = BudgetSection()
    retention: RetentionSection = RetentionSection()
    cap: CapSection = CapSection()
    media: MediaSection = MediaSection()
    events: EventSection = EventSection()
    webhooks: WebhookSection = WebhookSection()
    carriers: dict[str, AnyCarrier] = {}
    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """Where they came from: children of this process must read the same."""
        return self._file


class _File(TomlConfigSettingsSource):
    """The file's settings. Its carriers do not count where the environment names all there are: merged, both would send."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in self._replaced()}

    def _replaced(self) -> set[str]:
        return {"carriers"} & {name.lower().removeprefix("alertd_") for name in os.environ}


def load(path: Path | None = None) -> Settings:
    """The settings of a file (or none) under the environment. Raises ConfigError with every fault at once."""
    if path is not None and not path.is_file():
        raise ConfigError(f"there is no configuration file {path}")
    misspelt = list(_misspelt_variables())
    if misspelt:
        raise ConfigError("\n".join(misspelt))
    try:
        return _reading(path)()
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error))) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"a secret's file cannot be read: {error.filename}") from None


def _reading(path: Path | None) -> type[Settings]:
    """Settings that read this file."""

    class FromFile(Settings):
        _file: Path | None = PrivateAttr(path and path.resolve())

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings passes them by name
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = (_File(settings_cls, path),) if path else ()
            return (init_settings, env_settings, *file)

    return FromFile


def _sentences(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_input=False, include_url=False):
        place, names = [str(part) for part in fault["loc"]], _names()
        if place[:1] == ["carriers"] and len(place) > 2:
            # The third is the carrier's kind, which is no part of its path.
            names = list(_KINDS[place.pop(2)].model_fields)
        where = ".".join(place) or "carriers"  # the one fault of the whole is theirs
        match fault["type"]:
            case "extra_forbidden":
                yield f"{where}: there is no such option{_near(place[-1], names)}"
            case "union_tag_invalid" | "union_tag_not_found":
                wrote = str(fault.get("ctx", {}).get("tag", ""))
                yield f"{where}.kind: this must be one of {', '.join(_KINDS)}{_near(wrote, list(_KINDS))}"
            case "missing":
                yield f"{where}: this is required" + (f", or {place[-1]}_file" if place[-1] in _secrets() else "")
            case _:
                yield f"{where}: {fault['msg']}"


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _misspelt_variables() -> Iterator[str]:
    """Variables that nearly name a section. Others are left alone: Kubernetes sets `ALERTD_PORT` for a service of our name."""
    known, prefix = list(Settings.model_fields), "ALERTD_"
    for name in sorted(os.environ):
        head = name.removeprefix(prefix).partition("__")[0].lower()
        if name.startswith(prefix) and head not in known:
            for near in difflib.get_close_matches(head, known, n=1, cutoff=0.8):
                yield f"{name}: there is no such option; did you mean {near}?"


def _names() -> list[str]:
    tables: tuple[type[BaseModel], ...] = (Settings, *_sections(Section))
    return sorted({name for table in tables for name in table.model_fields})


def _secrets() -> set[str]:
    fields = (item for section in _sections(Section) for item in section.model_fields.items())
    return {name for name, field in fields if SecretStr in {field.annotation, *get_args(field.annotation)}}


def _sections(of: type[Section]) -> Iterator[type[Section]]:
    """Every table there is, those within others too."""
    for section in of.__subclasses__():
        yield section
        yield from _sections(section)
