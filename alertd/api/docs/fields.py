"""Turns JSON Schemas into rows for readers (names, kinds, limits, nested members), and into a minimal example."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

Schema = Mapping[str, Any]

#: Maximum depth of rows; of deeper members the page shows only the type.
MAX_DEPTH = 8

#: JSON Schema's keywords for a minimum and a maximum, and the unit that the page shows after the number.
_RANGES = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " of them"),
)
#: Sample texts by format.
_TEXTS = {"date-time": "2026-12-01T15:00:00Z", "date": "2026-12-01", "uri": "https://centre.example/"}
_LIMITS = {"exclusiveMinimum": "more than {}", "exclusiveMaximum": "less than {}", "pattern": "of the form {}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One member of a schema, or one of its alternative forms, as /docs shows it."""

    name: str
    kind: str
    required: bool
    limits: tuple[str, ...]
    description: str
    schemas: tuple[str, ...]  # the names of schemas in `kind`, which become links
    rows: tuple[Row, ...]
    is_form: bool = False  # the row is one of several alternative forms, not a member


class Reader:
    """Reads the schemas of one OpenAPI document, and resolves references in them."""

    def __init__(self, document: Schema) -> None:
        self.components: Schema = document["components"]["schemas"]
        self._responses: Schema = document["components"]["responses"]

    def rows(self, schema: Schema, depth: int = 0) -> tuple[Row, ...]:
        """Returns the rows of an object's members, of the members of an array's items, or of each alternative; () for
        other schemas, and from `MAX_DEPTH` on. The row of a member with a schema of its own names that schema and has
        no further rows.
        """
        whole = self.resolved(schema)
        if depth >= MAX_DEPTH:
            return ()
        choices = choices_of(whole)
        if choices:
            return self._of_choices(whole, choices, depth)
        if "items" in whole:
            return self.rows(whole["items"], depth)
        required = whole.get("required", ())
        rows = [self.row(name, each, depth, name in required) for name, each in whole.get("properties", {}).items()]
        rest = by_name(whole)
        if rest is not None and (self.objects(rest) or self.rows(rest, depth + 1)):
            rows.append(self.row("(each name)", rest, depth))
        return tuple(rows)

    def row(self, name: str, schema: Schema, depth: int = 0, required: bool = False) -> Row:
        """Returns the row of a member of this name and schema."""
        whole = self.resolved(schema)
        objects = self.objects(schema)
        return Row(
            name=name,
            kind=self.kind(schema),
            required=required,
            limits=tuple(each for each in _limits(whole) if each),
            description=str(schema.get("description") or whole.get("description") or ""),
            schemas=objects,
            rows=() if objects else self.rows(schema, depth + 1),
        )

    def objects(self, schema: Schema) -> tuple[str, ...]:
        """Returns the names of the object schemas to which a schema leads: its own name, or those of its alternatives,
        its items, or the values of a map.
        """
        if "$ref" in schema:
            return () if self._is_plain(schema) else (name_of(schema),)
        parts = [
            *choices_of(schema),
            *filter(None, (schema.get("items"), by_name(schema))),
            *schema.get("prefixItems", ()),
        ]
        return tuple(dict.fromkeys(name for part in parts for name in self.objects(part)))

    def kind(self, schema: Schema) -> str:
        """Returns a short description of a schema's type, such as “array of Ring”; a reference to an object as that
        schema's name.
        """
        if "$ref" in schema and not self._is_plain(schema):
            return name_of(schema)
        return self._kind_in_place(self.resolved(schema))

    def _kind_in_place(self, whole: Schema) -> str:
        """Returns the description of the type of a schema that the page describes in place."""
        choices = choices_of(whole)
        if choices:
            kinds = dict.fromkeys(self.kind(each) for each in choices)
            return " or ".join(kinds) + (" or null" if {"type": "null"} in whole.get("anyOf", ()) else "")
        if "const" in whole:
            return f"“{whole['const']}”"
        if "enum" in whole:
            return "one of " + ", ".join(str(each) for each in whole["enum"])
        if whole.get("type") == "array":
            return self._array(whole)
        rest = by_name(whole)
        if rest is not None:
            return f"object of {self.kind(rest)} {_such_names(whole)}"
        words = {"date-time": "time", "uri": "URL", "date": "date", "uri-reference": "URL"}
        return words.get(whole.get("format", ""), str(whole.get("type", "anything")))

    def resolved(self, schema: Schema) -> Schema:
        """Returns the schema that a reference names. Returns a schema that is no reference unchanged."""
        return self.components[name_of(schema)] if "$ref" in schema else schema

    def named(self, response: Schema) -> Schema:
        """Returns the response that a reference names. Returns a response that is no reference unchanged."""
        name = response.get("$ref", "").removeprefix("#/components/responses/")
        return self._responses[name] if name else response

    def sample(self, schema: Schema, depth: int = 0) -> Any:
        """Returns a small example value of a schema: its own example, its first code, its constant or default; else a
        value of its type. An object gets its required members, or all if it names none as required.
        """
        whole = self.resolved(schema)
        for key in ("examples", "enum"):
            if whole.get(key):
                return whole[key][0]
        if "const" in whole or whole.get("default") is not None:
            return whole.get("const", whole.get("default"))
        choices = choices_of(whole)
        if choices and depth < MAX_DEPTH:
            return self.sample(choices[0], depth + 1)
        if whole.get("type") == "object" and depth < MAX_DEPTH:
            members = whole.get("properties", {})
            return {name: self.sample(members[name], depth + 1) for name in whole.get("required", members)}
        if whole.get("type") == "array":
            items = whole.get("prefixItems") or [whole.get("items", {})] * whole.get("minItems", 0)
            return [self.sample(each, depth + 1) for each in items]
        number = whole.get("minimum", 1)
        samples = {"integer": number, "number": float(number), "boolean": True, "object": {}, "null": None}
        return samples.get(whole.get("type", ""), _TEXTS.get(whole.get("format", ""), "…"))

    def _is_plain(self, schema: Schema) -> bool:
        """Returns whether a schema is neither object, array nor a choice: a text, a number, or a code, for instance."""
        whole = self.resolved(schema)
        return not choices_of(whole) and whole.get("type") not in {"object", "array"}

    def _array(self, whole: Schema) -> str:
        """Returns the description of an array's type, with its items."""
        if "prefixItems" in whole:
            return "array of " + ", ".join(self.kind(each) for each in whole["prefixItems"])
        return f"array of {self.kind(whole['items'])}" if whole.get("items") else "array"

    def _of_choices(self, whole: Schema, choices: list[Schema], depth: int) -> tuple[Row, ...]:
        """Returns the rows of alternatives: one for each alternative with members, or the members' rows if only one
        alternative has any.
        """
        within = [each for each in choices if self.rows(each, depth)]
        if len(within) < 2:
            return self.rows(within[0], depth) if within else ()
        return tuple(replace(self.row(self._form(whole, each), each, depth), is_form=True) for each in within)

    def _form(self, whole: Schema, choice: Schema) -> str:
        """Returns the label of an alternative: its value of the distinguishing member, or its title."""
        teller = whole.get("discriminator", {})
        for value, reference in teller.get("mapping", {}).items():
            if reference == choice.get("$ref"):
                return f"{teller['propertyName']}: {value}"
        return str(self.resolved(choice).get("title", "another"))


def name_of(reference: Schema) -> str:
    """Returns the name of the schema to which a reference (`$ref`) leads."""
    return str(reference["$ref"]).removeprefix("#/components/schemas/")


def by_name(whole: Schema) -> Schema | None:
    """Returns the schema of a map's values. None if the object is not a map, that is, has no members with free
    names.
    """
    rest = whole.get("additionalProperties") or next(iter(whole.get("patternProperties", {}).values()), None)
    return rest if isinstance(rest, Mapping) else None


def _such_names(whole: Schema) -> str:
    """Returns the words for the names in a map: "by name", with an example if the schema has one."""
    examples = whole.get("propertyNames", {}).get("examples")
    return f"by name, such as {examples[0]}" if examples else "by name"


def choices_of(whole: Schema) -> list[Schema]:
    """Returns the alternatives of a schema, without null."""
    return [each for each in whole.get("oneOf", whole.get("anyOf", ())) if each != {"type": "null"}]


def _range(least: float | None, most: float | None, unit: str) -> str:
    """Returns a limit in words, such as "1 to 20 characters"; "" without limits."""
    if least is None or most is None:
        words = "" if least is None else f"at least {least}{unit}"
        return words if most is None else f"at most {most}{unit}"
    return f"exactly {least}{unit}" if least == most else f"{least} to {most}{unit}"


def _limits(whole: Schema) -> Iterator[str]:
    """Yields the limits of a schema in words: ranges, patterns and the default. Some are empty."""
    sources = [whole, *choices_of(whole)] if len(choices_of(whole)) == 1 else [whole]
    for source in sources:
        yield from (_range(source.get(least), source.get(most), unit) for least, most, unit in _RANGES)
        yield from (words.format(source[key]) for key, words in _LIMITS.items() if key in source)
    default = whole.get("default")
    if default not in (None, [], {}, ""):
        yield f"{default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)} if absent"
