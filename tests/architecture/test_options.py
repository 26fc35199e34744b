"""`ops/alertd.toml` has every option of alertd, with its default, and why; nothing else, and it loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from alertd.config import settings
from alertd.config.carriers import AnyCarrier
from alertd.config.sections import Secret

FILE = Path(__file__).parents[2] / "ops" / "alertd.toml"
TEXT = FILE.read_text(encoding="utf-8")
#: An option that is not set: "#" and a name, or "#" and a table. Prose has a space after its "#".
NOT_SET = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)
OPTION = re.compile(r"#?[a-z_]+ = ")
EXAMPLES = NOT_SET.sub("", TEXT)
LIVE, SHOWN = tomllib.loads(TEXT), tomllib.loads(EXAMPLES)

CARRIERS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(AnyCarrier)[0])
}
SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation
    for name, field in settings.Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def name_in_file(name: str, field: FieldInfo) -> str:
    """A secret is shown as its file."""
    return f"{name}_file" if {SecretStr, Secret} & {field.annotation, *get_args(field.annotation)} else name


def options(model: type[BaseModel]) -> dict[str, FieldInfo]:
    tables = {*SECTIONS, "carriers"} if model is settings.Settings else set()
    return {name_in_file(name, field): field for name, field in model.model_fields.items() if name not in tables}


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """What is set when nothing is set, as TOML has it."""
    known = {name: field.default for name, field in options(model).items() if not field.is_required()}
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in known.items() if value is not None
    }


def own(document: dict[str, Any]) -> dict[str, Any]:
    """What stands in a document above its tables."""
    return {name: value for name, value in document.items() if not isinstance(value, dict)}


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_section_has_every_option(section: str):
    """What has a default is set to it; what has none is shown as an example; nothing else is there."""
    model = SECTIONS.get(section, settings.Settings)
    live, shown = (LIVE[section], SHOWN[section]) if section else (own(LIVE), own(SHOWN))
    assert live == defaults(model)
    assert set(shown) == set(options(model))


@pytest.mark.parametrize("kind", CARRIERS)
def test_carrier_has_every_option(kind: str):
    """As an example, with the default where there is one."""
    [shown] = [table for table in SHOWN["carriers"].values() if table["kind"] == kind]
    assert set(shown) == set(options(CARRIERS[kind]))
    assert shown | defaults(CARRIERS[kind]) == shown


def test_nothing_is_there_that_alertd_does_not_know():
    """No other section, no other carrier, and no carrier is set: a file used as it stands sends to nobody."""
    assert {name for name, value in SHOWN.items() if isinstance(value, dict)} == {*SECTIONS, "carriers"}
    assert sorted(table["kind"] for table in SHOWN["carriers"].values()) == sorted(CARRIERS)
    assert "carriers" not in LIVE


def test_every_option_says_why():
    """On its line, or above it or above its neighbour."""
    said, mute = False, []
    for line in TEXT.splitlines():
        if OPTION.match(line) is None:
            said = line.startswith("# ")
        elif "  # " not in line and not said:
            mute.append(line)
    assert not mute


def bounds(field: FieldInfo) -> set[float]:
    """Those that nobody expects: a port, a share and what cannot be negative have theirs."""
    limits = {getattr(each, name, None) for each in field.metadata for name in ("ge", "gt", "le", "lt")}
    return {float(limit) for limit in limits if limit not in {None, 0, 1, 65535}}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_bound_is_told(section: str):
    """On the option's line: whoever sets it need not be refused first."""
    [table] = re.findall(
        rf"^\[{section}\].*?$(.*?)(?=^\[|\Z)", EXAMPLES.partition("# Carriers:")[0], re.MULTILINE | re.DOTALL
    )
    said = {line.partition(" = ")[0]: line.partition("  # ")[2].replace(",", "") for line in table.splitlines()}
    numbers = {name: set(map(float, re.findall(r"\d+(?:\.\d+)?", text))) for name, text in said.items()}
    fields = SECTIONS[section].model_fields
    assert [name for name, field in fields.items() if not bounds(field) <= numbers.get(name, set())] == []


def test_file_loads_as_it_stands():
    """It means the same as no file at all."""
    assert settings.load(FILE).model_dump() == settings.load().model_dump()


@pytest.mark.parametrize("kind", CARRIERS)
def test_every_example_is_taken(tmp_path: Path, kind: str):
    """With every "#" taken away, but those of other carriers, it loads, its secrets read from their files."""
    secret = tmp_path / "secret"
    secret.write_text("correct horse", encoding="ascii")
    file = tmp_path / "alertd.toml"
    above, *tables = re.split(r"^(?=\[carriers\.)", EXAMPLES, flags=re.MULTILINE)
    (table,) = [table for table in tables if f'kind = "{kind}"' in table]
    file.write_text(re.sub(r'_file = "[^"]*"', f'_file = "{secret}"', above + table), encoding="utf-8")
    assert [carrier.kind for carrier in settings.load(file).carriers.values()] == [kind]
