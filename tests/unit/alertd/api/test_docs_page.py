"""What /docs shows: every operation in its group, every schema with its description and an example, and no link into nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import lxml.html
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from alertd.api.application import OPERATIONS, document
from alertd.api.docs.openapi import descriptions, groups, openapi
from alertd.api.docs.pages import docs_page
from alertd.api.docs.samples import examples_of
from alertd.common.errors import CATALOGUE


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """The document as programs read it."""
    return json.loads(json.dumps(document()))


@pytest.fixture(scope="module")
def page(told: dict[str, Any]) -> lxml.html.HtmlElement:
    return lxml.html.fromstring(docs_page(told))


def test_submit_an_alert_comes_first(page: lxml.html.HtmlElement):
    titles = [each.text_content() for each in page.iter("h2")]
    assert titles == ["Submit an alert", *groups(), "Schemas", "Problem types"]
    assert len(page.xpath('//section[@id="start"]//code[@class="run"]')) == 5


def test_each_operation_is_in_its_group(page: lxml.html.HtmlElement, told: dict[str, Any]):
    """The page and the document's tags have the same groups, in the same order, with the same descriptions."""
    shown = {
        section.find("h2").text_content(): [one.get("id") for one in section.iter("article")]
        for section in page.xpath('//section[@data-section and starts-with(@id, "group-")]')
    }
    assert shown == {name: group["operations"] for name, group in groups().items()}
    assert [(one["name"], one["description"]) for one in told["tags"]] == [
        (name, one["description"]) for name, one in groups().items()
    ]
    assert all(one["description"].endswith(".") for one in told["tags"])
    tags = {each["operationId"]: each["tags"] for methods in told["paths"].values() for each in methods.values()}
    assert tags == {name: [title] for title, group in groups().items() for name in group["operations"]}


@pytest.mark.parametrize(
    "change", [lambda ids: ids[1:], lambda ids: [*ids, "no_such_call"], lambda ids: [*ids, ids[0]]]
)
def test_an_operation_is_in_exactly_one_group(change):
    """One that is forgotten, unknown or listed twice is a mistake of ours, found at the start."""
    wrong = {"All": {"description": "All.", "operations": change([each.id for each in OPERATIONS])}}
    with pytest.raises(ValueError, match="group"):
        openapi(OPERATIONS, wrong, title="", version="", description="")


def test_every_schema_has_its_description_and_an_example(page: lxml.html.HtmlElement, told: dict[str, Any]):
    schemas = told["components"]["schemas"]
    shown = {each.get("id").removeprefix("schema-"): each for each in page.xpath('//article[@data-entry="schema"]')}
    assert set(shown) == set(schemas)
    assert len(schemas) > 200
    assert [name for name, schema in schemas.items() if not schema.get("description", "").endswith((".", ":"))] == []
    assert [name for name, one in shown.items() if not one.find("p").text_content()] == []
    lacking = [name for name, one in shown.items() if not one.xpath("pre/code/text()") and "enum" not in schemas[name]]
    assert lacking == []


def test_the_example_of_each_schema_fits_it(told: dict[str, Any]):
    """A recorded one, one of the table, or a made-up one."""
    schemas = told["components"]["schemas"]
    wrong = [
        f"{name}: {fault.json_path} {fault.message}"
        for name, example in examples_of(told).items()
        for fault in Draft202012Validator(
            {**schemas[name], "components": told["components"]}, format_checker=FormatChecker()
        ).iter_errors(example)
    ]
    assert wrong == []


def test_the_table_describes_schemas_that_exist(told: dict[str, Any]):
    table = descriptions()
    assert table["schemas"].keys() | table["examples"].keys() <= told["components"]["schemas"].keys()
    assert [text for text in table["schemas"].values() if not text.endswith(".")] == []


def test_each_link_leads_somewhere_and_each_id_is_unique(page: lxml.html.HtmlElement):
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    links = set(page.xpath("//a/@href"))
    assert len(links) > 400
    assert {link[1:] for link in links if link.startswith("#")} - set(ids) == set()
    others = {link for link in links if not link.startswith("#")}
    assert others == {"/openapi.json", *(f"/problems/{slug}" for slug in CATALOGUE)}


def test_without_its_script_the_page_shows_everything(page: lxml.html.HtmlElement):
    """Only the search needs the script, so only the search is hidden until it runs."""
    assert [each.get("id") for each in page.xpath("//*[@hidden]")] == ["search"]
    assert page.xpath("//script/@src") == ["/docs/docs.js"]
    assert not re.search(r"\son\w+=|javascript:|<style|\sstyle=", lxml.html.tostring(page, encoding="unicode"))
