"""Loads the configuration: one TOML file, overridden by `ALERTD_*` in the environment. Secrets may be in files
(`*_file`).

`ops/alertd.toml` lists every option with its default and the reason for it; a test compares the two. Refuses an unknown
option and suggests the nearest name.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, PrivateAttr, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from alertd.common.errors import ConfigError
from alertd.config import sections
from alertd.config.carriers import KINDS_OF_CARRIER, AnyCarrier, WebPushCarrier
from alertd.config.sections import (
    AlertSection,
    ApiSection,
    AudienceSection,
    BudgetSection,
    CapSection,
    EventSection,
    MediaSection,
    MetricsSection,
    OidcSection,
    PublicSection,
    RetentionSection,
    Secret,
    Section,
    SignInSection,
    StoreSection,
    WebhookSection,
    WorkerSection,
    unreadable,
)


def _named(carriers: dict[str, AnyCarrier]) -> dict[str, AnyCarrier]:
    """Returns the carriers unchanged. Raises if a carrier's name contains other characters than letters, digits, `.`, `-` and `_`. Names
    are part of the URLs to which carriers report, so a space or slash would break these.
    """
    for name in carriers:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise PydanticCustomError(
                "name",
                "a carrier's name has the letters a to z, digits, ., - and _ alone, not {name}",
                {"name": repr(name)},
            )
    return carriers


def _of_one_key(carriers: dict[str, AnyCarrier]) -> dict[str, AnyCarrier]:
    """Returns the carriers unchanged. Raises if the web push carriers have different keys: alertd does not store with which key a browser
    subscribed. The push service would refuse another carrier's key, and alertd would remove the browser.
    """
    keys = {one.private_key.get_secret_value().strip() for one in carriers.values() if isinstance(one, WebPushCarrier)}
    if len(keys) > 1:
        raise PydanticCustomError(
            "keys", "all carriers of web push have one private_key, since a browser takes no other"
        )
    return carriers


class Settings(BaseSettings):
    """All settings, frozen. `ALERTD_API__PORT=0` in the environment sets `port` of `[api]`."""

    model_config = SettingsConfigDict(env_prefix="ALERTD_", env_nested_delimiter="__", extra="forbid", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    store: StoreSection = StoreSection()
    api: ApiSection = ApiSection()
    sign_in: SignInSection = SignInSection()
    oidc: OidcSection = OidcSection()
    worker: WorkerSection = WorkerSection()
    metrics: MetricsSection = MetricsSection()
    audience: AudienceSection = AudienceSection()
    alerts: AlertSection = AlertSection()
    budget: BudgetSection = BudgetSection()
    retention: RetentionSection = RetentionSection()
    cap: CapSection = CapSection()
    media: MediaSection = MediaSection()
    public: PublicSection = PublicSection()
    events: EventSection = EventSection()
    webhooks: WebhookSection = WebhookSection()
    carriers: Annotated[dict[str, AnyCarrier], AfterValidator(_named), AfterValidator(_of_one_key)] = {}
    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """Returns the path of the configuration file, None if there is none. Child processes must read the same file."""
        return self._file


class _File(TomlConfigSettingsSource):
    """Reads the settings from the configuration file. If the environment sets the carriers, ignores those of the file: merged, both sets
    would send.
    """

    def __call__(self) -> dict[str, Any]:
        own = {name: value for name, value in super().__call__().items() if name not in self._replaced()}
        return _below(self.current_state, own)

    def _replaced(self) -> set[str]:
        """Returns {"carriers"} if an environment variable sets any carrier, else an empty set."""
        return {"carriers"} & {name.lower().removeprefix("alertd_") for name in os.environ}


def _below(above: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Returns the file's values `own` without those that the environment (`above`) replaces. Drops an option `<name>_file` if a variable
    sets `<name>`: otherwise the file's secret would override the variable.
    """
    replaced = {f"{name}_file" for name in above}
    inner = {name: _below(above[name], value) for name, value in own.items() if _are_tables(above.get(name), value)}
    return {name: inner.get(name, value) for name, value in own.items() if name not in replaced}


def _are_tables(*values: Any) -> bool:
    """Returns whether all the values are tables."""
    return all(isinstance(value, dict) for value in values)


def load(path: Path | None = None) -> Settings:
    """Reads the settings from a configuration file (None: no file); environment variables override it. Raises ConfigError that lists all
    errors.
    """
    if path is not None and not path.is_file():
        raise ConfigError(f"there is no configuration file {path}")
    misspelt = list(_misspelt_variables())
    if misspelt:
        raise ConfigError("\n".join(misspelt))
    try:
        return _reading(path)()
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error))) from None
    except SettingsError as error:
        raise ConfigError(_not_json(str(error))) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not in UTF-8") from None
    except OSError as error:
        raise ConfigError(unreadable(path or "", error)) from None


def _reading(path: Path | None) -> type[Settings]:
    """Returns a subclass of Settings that reads this file when it is made."""

    class FromFile(Settings):
        """The settings with this file as a source, below the environment."""

        _file: Path | None = PrivateAttr(path and path.resolve())

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 pydantic-settings passes them by name
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = (_File(settings_cls, path),) if path else ()
            return (init_settings, env_settings, *file)

    return FromFile


def _sentences(error: ValidationError) -> Iterator[str]:
    """Yields one line for each error: the option's path, what is wrong and, if there is one, a hint."""
    for fault in error.errors(include_input=False, include_url=False):
        place, names = [str(part) for part in fault["loc"]], _names()
        if place[:1] == ["carriers"] and len(place) > 2:
            # The third element is the carrier's kind, which is not part of the option's path.
            names = list(KINDS_OF_CARRIER[place.pop(2)].model_fields)
        where = ".".join(place) or "carriers"  # only carriers have an error without a path
        match fault["type"]:
            case "extra_forbidden":
                files = [f"{name}_file" for name in _secrets().intersection(names)]
                yield f"{where}: there is no such option{_elsewhere(where) or _near(place[-1], [*names, *files])}"
            case "union_tag_invalid" | "union_tag_not_found":
                wrote = str(fault.get("ctx", {}).get("tag", ""))
                yield f"{where}.kind: this must be one of {', '.join(KINDS_OF_CARRIER)}{_near(wrote, list(KINDS_OF_CARRIER))}"
            case sections.OF_ITS_FILE:
                yield f"{where}_file: {fault['msg']}"
            case "missing":
                yield f"{where}: this is required" + (f", or {place[-1]}_file" if place[-1] in _secrets() else "")
            case _:
                yield f"{where}: {fault['msg']}"


def _not_json(message: str) -> str:
    """Returns the error text for a variable whose list or table is not JSON. The library's own error names only the table."""
    table = re.sub(r'.*field "(\w+)".*', r"\1", message)
    return f'{table}: a list or a table in a variable is written as JSON, as ["a", "b"] or {{"a": 1}} (ALERTD_{table.upper()}…)'


def _elsewhere(where: str) -> str:
    """Returns a hint that names the tables which have an option of this name, "" if none has: then a similar name may help."""
    name = where.rpartition(".")[2]
    tables = Settings.model_fields.items()
    homes = [table for table, field in tables if name in getattr(field.annotation, "model_fields", ())]
    return f"; {name} is an option of {' and '.join(f'[{one}]' for one in homes)}" if homes else ""


def _near(name: str, names: Sequence[str]) -> str:
    """Returns a hint "did you mean …?" with the most similar of the names, "" if none is similar."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _misspelt_variables() -> Iterator[str]:
    """Yields an error for each environment variable that resembles a table's name, or has `_` instead of `__` before an option. Ignores
    other variables: Kubernetes sets `ALERTD_PORT`, or `ALERTD_API_PORT=tcp://…`, for services with alertd's name.
    """
    known, prefix = list(Settings.model_fields), "ALERTD_"
    for name, value in sorted(os.environ.items()):
        head = name.removeprefix(prefix).partition("__")[0].lower()
        if name.startswith(prefix) and head not in known:
            yield from (
                f"{name}: there is no such option; did you mean {one}?" for one in _within(head) if "://" not in value
            )
            for near in difflib.get_close_matches(head, known, n=1, cutoff=0.8):
                yield f"{name}: there is no such option; did you mean {near}?"


def _within(name: str) -> Iterator[str]:
    """Yields the right variable for one with a single `_` between table and option: `ALERTD_API__PORT` for `api_port`."""
    for table, field in Settings.model_fields.items():
        option = name.removeprefix(f"{table}_")
        if option != name and option in getattr(field.annotation, "model_fields", ()):
            yield f"ALERTD_{table}__{option}".upper()


def _names() -> list[str]:
    """Returns the names of all tables and options, sorted."""
    tables: tuple[type[BaseModel], ...] = (Settings, *_sections(Section))
    return sorted({name for table in tables for name in table.model_fields})


def _secrets() -> set[str]:
    """Returns the names of the options that hold a secret and may be read from a file."""
    fields = (item for section in _sections(Section) for item in section.model_fields.items())
    return {
        name
        for name, field in fields
        if {SecretStr, Secret}.intersection({field.annotation, *get_args(field.annotation)})
    }


def _sections(of: type[Section]) -> Iterator[type[Section]]:
    """Yields every table of the configuration (subclasses of `of`), including nested ones."""
    for section in of.__subclasses__():
        yield section
        yield from _sections(section)
