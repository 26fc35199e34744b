"""The configuration tables, except those of carriers. `ops/alertd.toml` lists every option with its default and the
reason for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

#: In seconds. After a person moves, their old record stays for 17 s, so that a query that began before the move still
#: finds them. A longer query, with a margin for clocks and for the move itself, could find them in neither place.
LONGEST_QUERY_S = 5.0
MOST_PORT = 65_535


#: Type of the error that a secret's file causes. The error's location is the option (`password`); the message is about its file
#: (`password_file`).
OF_ITS_FILE = "of_its_file"


@dataclass(frozen=True, slots=True)
class _NoSecret:
    """A secret that could not be read from its file, with the reason."""

    why: str


def _secret_in(path: Any) -> str | _NoSecret:
    """Returns the text of a secret's file without trailing newlines, or the reason why there is none."""
    if not isinstance(path, str):
        return _NoSecret("this must be the path of a file")
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        return _NoSecret(unreadable(path, error))
    except ValueError:
        return _NoSecret(f"{path} holds no text in UTF-8")
    return secret or _NoSecret(f"{path} is empty")


def _given(value: Any) -> Any:
    """Returns a secret unchanged. Raises the reason if its file could not be read. It raises here, for one option, so that pydantic reports
    the errors of all options together.
    """
    if isinstance(value, _NoSecret):
        raise PydanticCustomError(OF_ITS_FILE, "{why}", {"why": value.why})
    return value


#: Type of an option with a secret. The option `<name>_file` may name a file that holds the secret.
Secret = Annotated[SecretStr, BeforeValidator(_given)]


def unreadable(path: Path | str, error: OSError) -> str:
    """Returns a text that says why a configuration file cannot be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"there is no file {path}"
    if isinstance(error, PermissionError):
        return f"this user may not read {path}"
    return f"{path} cannot be read: {error.strerror}"


class Section(BaseModel):
    """Base of all tables of the configuration. Refuses unknown options."""

    # Infinity can turn into NaN in a calculation, and alertd would then refuse an alert. The value 0 means "no limit".
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    _from_files: frozenset[str] = PrivateAttr(frozenset())

    @property
    def from_files(self) -> frozenset[str]:
        """Returns the options that were read from files: `password` if the table has `password_file`."""
        return self._from_files

    @model_validator(mode="wrap")
    @classmethod
    def _secrets_from_files(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Reads each secret option that is given as `NAME_file` from that file, without trailing newlines: `password` from `password_file`."""
        if not isinstance(values, dict):
            return handler(values)
        read = dict(values)
        for name in values:
            secret = name.removesuffix("_file")
            if name.endswith("_file") and name not in cls.model_fields and secret in cls.model_fields:
                read[secret] = _secret_in(read.pop(name))
        made = handler(read)
        made._from_files = frozenset(read.keys() - values.keys())  # noqa: SLF001 an attribute of this class
        return made


class StoreSection(Section):
    """The table `[store]`: which store alertd uses, its keys, and the limits of the embedded one."""

    url: str | None = None
    directory: Path = Path("alertd-data")
    server: Path | None = None
    maxmemory_mb: int = Field(0, ge=0)
    reserve_mb: int = Field(512, ge=0)
    replicas_required: int = Field(0, ge=0, le=1)
    ballast_mb: int = Field(64, ge=0)
    master_key: Secret | None = None
    hash_key: Secret | None = None
    next_master_key_file: Path | None = None
    tombstones: Path | None = None
    sandbox: bool = False

    @property
    def tombstones_file(self) -> Path:
        """Returns the file of the tombstones. By default it is beside the data directory, so that no copy of the
        directory contains it.
        """
        directory = self.directory.absolute()  # "." has no name of its own
        return self.tombstones or directory.with_name(f"{directory.name}.tombstones")

    @property
    def reserve_bytes(self) -> int:
        """Returns how many bytes of the data's disk must stay free; with less, writes are refused."""
        return self.reserve_mb * 1024 * 1024

    @property
    def regions(self) -> Path:
        """Returns the folder in the data directory that holds the operator's own regions."""
        return self.directory / "regions"


_SITE = re.compile(r"(https?://[^\s/?#@\\]+(/[^\s?#\\]*)?)?")


def _site(url: str) -> str:
    """Returns the URL without a trailing slash, because paths are appended to it. Raises if it is not an http or https
    URL.
    """
    if _SITE.fullmatch(url) is None:
        raise PydanticCustomError("site", "this looks like https://alerts.centre.example")
    return url.rstrip("/")


class ApiSection(Section):
    """The table `[api]`: where the API listens, its public address, and limits for its clients."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=MOST_PORT)
    public_url: Annotated[str, AfterValidator(_site)] | None = None
    body_mb: int = Field(10, ge=1)
    reach_per_min: int = Field(60, ge=0)
    connections: int = Field(2_000, ge=10)
    key_rate_per_min: int = Field(6_000, ge=0)
    streams_per_key: int = Field(64, ge=0)

    @property
    def own_url(self) -> str:
        """Returns the URL on which the API listens."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def reached_at(self) -> str:
        """Returns the URL for carriers' reports and unsubscribe links: `public_url` if set, else the URL on which the API listens."""
        return self.public_url or self.own_url


class SignInSection(Section):
    """The table `[sign_in]`: passkeys, sessions and one-time codes of operators."""

    rp_id: str = Field("", pattern=r"^[a-z0-9.-]*$")
    origins: list[Annotated[str, Field(pattern=r"^https?://[^/]+$")]] = []
    idle_minutes: int = Field(30, ge=1)
    longest_hours: int = Field(12, ge=1, le=168)
    code_minutes: int = Field(60, ge=1, le=1440)
    address_header: str = Field("", pattern=r"^[A-Za-z0-9-]*$")


class OidcSection(Section):
    """The OpenID provider with which operators may also sign in. An empty issuer means none."""

    issuer: str = Field("", pattern=r"^(https://[^\s?#@\\]+|http://127\.0\.0\.1:[0-9]+[^\s?#@\\]*)?$")
    name: str = Field("", max_length=40)
    client_id: str = Field("", max_length=255)
    client_secret: Secret | None = None
    acr: list[str] = []
    own_network: bool = False
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _issuers_know_us(self) -> Self:
        """Raises if only one of `issuer` and `client_id` is set."""
        if bool(self.issuer) != bool(self.client_id):
            raise PydanticCustomError("half", "issuer and client_id belong together")
        return self


def _listens(place: str) -> str:
    """Returns the place if it is HOST:PORT or empty. Raises for a port above 65,535, which the system would take for
    another port.
    """
    host, _, port = place.rpartition(":")
    if place and not (host and port.isdecimal() and int(port) <= MOST_PORT):
        raise PydanticCustomError("place", 'this looks like "127.0.0.1:9101"')
    return place


def _shows(place: str) -> str:
    """Returns the place if it is `unix:PATH`, HOST:PORT or empty. Raises otherwise."""
    return place if place.startswith("unix:") else _listens(place)


#: Type of an option with a listening address: HOST:PORT, or empty for none.
Listening = Annotated[str, AfterValidator(_listens)]


class MetricsSection(Section):
    """The table `[metrics]`: where the metrics are served."""

    listen: Listening = "127.0.0.1:9464"


class WorkerSection(Section):
    """The table `[worker]`: number of worker processes, and how each sends."""

    processes: int = Field(0, ge=0)
    lanes: int = Field(8, ge=1)
    chunk: int = Field(100, ge=1, le=100)
    poll_ms: int = Field(50, ge=5)
    attempts: int = Field(8, ge=1, le=31)
    metrics: Annotated[str, AfterValidator(_shows)] = ""


def _ends_in_time(seconds: float) -> float:
    """Returns the seconds. Raises if they are more than LONGEST_QUERY_S."""
    if seconds > LONGEST_QUERY_S:
        raise PydanticCustomError(
            "deadline",
            "at most {most} s: a search that took longer could miss people who move meanwhile",
            {"most": f"{LONGEST_QUERY_S:g}"},
        )
    return seconds


class AudienceSection(Section):
    """The table `[audience]`: how subscribers are found, and when an audience is too small or has changed too much."""

    deadline_s: Annotated[float, Field(gt=0), AfterValidator(_ends_in_time)] = LONGEST_QUERY_S
    region_share: float = Field(0.1, gt=0, le=1)
    least_km2: float = Field(0.2, ge=0)
    least_people: int = Field(20, ge=0)
    drift_share: float = Field(0.1, ge=0, le=1)


class RetentionSection(Section):
    """The table `[retention]`: after how many days ledgers are compressed and deleted, and persons sought and vehicles are deleted from an
    alert.
    """

    compress_days: int = Field(30, ge=2)  # days after the end of the last version sent
    ledger_days: int = Field(0, ge=0)
    sought_days: int = Field(7, ge=1, le=365)


class BudgetSection(Section):
    """The table `[budget]`: limits of SMS segments or of their cost, for an alert and for an organisation's day. 0: no limit."""

    alert_segments: int = Field(0, ge=0)
    day_segments: int = Field(0, ge=0)
    segment_price: float = Field(0.0, ge=0)
    alert_cost: float = Field(0.0, ge=0)
    day_cost: float = Field(0.0, ge=0)

    @property
    def most(self) -> tuple[int, int]:
        """Returns the maximum SMS segments of one alert, and of one organisation in a day: the stricter of the limits in segments and in
        cost. 0 is no limit.
        """
        return self._segments(self.alert_segments, self.alert_cost), self._segments(self.day_segments, self.day_cost)

    def _segments(self, segments: int, cost: float) -> int:
        """Returns the stricter of a limit in segments and one in cost, in segments. 0 is no limit."""
        priced = int(cost / self.segment_price + 1e-9) if cost and self.segment_price else 0
        return min(segments, priced) if segments and priced else segments or priced

    @model_validator(mode="after")
    def _costs_have_a_price(self) -> Self:
        """Raises if a limit of costs is set without `segment_price`, or is less than the price of one segment."""
        if (self.alert_cost or self.day_cost) and not self.segment_price:
            raise PydanticCustomError("unpriced", "a limit of costs needs segment_price")
        if any(cost and cost < self.segment_price for cost in (self.alert_cost, self.day_cost)):
            raise PydanticCustomError("unpayable", "a limit of costs is at least one segment_price")
        return self


class AlertSection(Section):
    """The table `[alerts]`: the host organisation, and limits for alerts."""

    organisation: str = Field("default", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    border_share: float = Field(0.02, ge=0, le=0.5)
    author_mb: int = Field(512, ge=0)


class CapIssuer(Section):
    """A trusted certificate, and the senders allowed to sign documents with it."""

    certificate: Secret
    senders: tuple[str, ...]


class CapSection(Section):
    """The table `[cap]`: sender and signature of alertd's CAP documents, and the issuers trusted for incoming ones."""

    sender: str = Field("", pattern=r"^[^\s,<&]*$", max_length=200)
    key: Secret | None = None
    certificate: Secret | None = None
    issuers: tuple[CapIssuer, ...] | None = None


class MediaSection(Section):
    """The table `[media]`: how long, and how many, photos may wait for an alert."""

    unused_hours: int = Field(24, ge=1)
    waiting: int = Field(200, ge=1)


class PublicSection(Section):
    """The table `[public]`: whether people may sign up on the web, and how many in an hour."""

    sign_up: bool = False
    sign_ups_per_hour: int = Field(1_000, ge=1)


class EventSection(Section):
    """The table `[events]`: how many events each organisation's stream keeps, and for how many days."""

    keep: int = Field(100_000, ge=1_000)
    keep_days: int = Field(30, ge=4)  # webhooks are retried for three days


class WebhookSection(Section):
    """The table `[webhooks]`: how long a receiver may take to answer, and which ports and networks it may have."""

    timeout_s: float = Field(15.0, ge=1, le=30)
    ports: list[Annotated[int, Field(ge=1, le=MOST_PORT)]] = [443]
    loopback: bool = False
