"""What the console's scripts make of what is typed, without a browser: as node runs them, on clocks that are not those of the case."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alertd.api import needs
from alertd.console import STATIC
from alertd.console.tables import module
from tests.contract.programs import program

pytestmark = pytest.mark.peer

#: What the scripts find in a tab, besides what node has: a place for what is kept in it, an address, and a language.
TAB = """
const tab = () => new Proxy({}, { get: (all, name) => ({
  getItem: (key) => (key in all ? all[key] : null), setItem: (key, text) => { all[key] = String(text) }, removeItem: (key) => { delete all[key] },
  clear: () => Object.keys(all).forEach((key) => delete all[key]) })[name] ?? all[name] })
Object.assign(globalThis, { sessionStorage: tab(), localStorage: tab(), location: new URL('http://localhost/console'), window: globalThis })
Object.defineProperty(globalThis, "navigator", { value: { language: "en" } })
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts and their tables, as modules of node."""
    folder = tmp_path_factory.mktemp("scripts") / "static"
    shutil.copytree(STATIC, folder, ignore=shutil.ignore_patterns("map", "maplibre*", "*.css"))
    (folder / "tables.js").write_text(module(needs()), encoding="utf-8")
    (folder / "tab.mjs").write_text(TAB, encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return folder


def run(scripts: Path, code: str, given: Any = None) -> Any:
    """What `code` answers: it has some scripts by their names, and `given`."""
    head = "".join(
        f"import * as {name} from './{name}.js'\n"
        for name in ("api", "area", "draft", "merge", "now", "shapes", "spoken")
    )
    whole = f"{head}const given = {json.dumps(given)}\nconsole.log(JSON.stringify((() => {{ {code} }})()))"
    done = subprocess.run(
        [program("node", "nodejs"), "--import", "./tab.mjs", "--input-type=module", "-e", whole],
        cwd=scripts, env={**os.environ, "TZ": "America/Caracas"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("zone", "clock", "moment"),
    [
        ("Europe/Madrid", "2026-11-24T17:40", "2026-11-24T16:40:00.000Z"),
        ("Asia/Kolkata", "2026-11-24T17:40", "2026-11-24T12:10:00.000Z"),
        ("Europe/Madrid", "2026-10-25T03:00", "2026-10-25T02:00:00.000Z"),
        ("UTC", "2026-11-24T17:40", "2026-11-24T17:40:00.000Z"),
    ],
)
def test_a_time_is_that_of_its_zone(scripts: Path, zone: str, clock: str, moment: str):
    """What clocks said where the child was seen is the moment that is sent, whatever the author's own clock says; and back again."""
    code = """
      const typed = { ...draft.blank(), seen: { at: given[1], zone: given[0], place: {} } }
      const sent = draft.documentOf(typed)
      return [sent.case.last_seen.at, draft.draftOf({ ...sent, case: { ...sent.case, last_seen: { ...sent.case.last_seen } } }, {}).seen]
    """
    assert run(scripts, code, [zone, clock]) == [moment, {"at": clock, "zone": zone, "place": {}}]


def test_what_is_typed_is_sent_as_it_is(scripts: Path):
    """An age or a height that is no number goes to the API, which says so; none of it is left out without a word."""
    code = """
      const { child } = draft.blank()
      const sent = (more) => draft.documentOf({ ...draft.blank(), child: { ...child, ...more } }).case.children[0]
      return [sent({ age: "7 years" }).age, sent({ from: "1.18" }).height_cm, sent({ to: "125" }).height_cm, sent({ age: " 7 " }).age, sent({}).age ?? null]
    """
    assert run(scripts, code) == [{"years": "7 years"}, ["1.18", "1.18"], [125, 125], {"years": 7}, None]


def test_an_alert_without_verification_can_be_changed(scripts: Path):
    """A Test needs none: its form is that of any other, with that part empty."""
    code = (
        "return draft.draftOf({ case: { verification: null, children: [] }, channels: ['push'] }, {}).checks.authority"
    )
    assert run(scripts, code) == ""


def test_an_outline_is_kept_as_long_as_a_draft_names_it(scripts: Path):
    """What is submitted lets go of its own files alone; a draft whose outline is gone says so, and is not sent as another area."""
    code = """
      const square = [{ type: "Polygon", coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] }]
      const piece = (id) => ({ id, type: "file", name: id, corners: 4, box: [0, 0, 1, 1] })
      for (const id of ["new", "edited", "dropped"]) shapes.hold(id, square, JSON.stringify(square))
      draft.keep({ ...draft.blank(), pieces: [piece("new")] })
      draft.keepEdit("A1", { draft: { ...draft.blank(), pieces: [piece("edited")] } })
      draft.forget()
      const left = (id) => draft.goneFiles({ pieces: [piece(id)] }).length === 0
      return { new: left("new"), edited: left("edited"), dropped: left("dropped"), polygons: draft.targetOf(draft.keptEdit("A1").draft).polygons }
    """
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    assert run(scripts, code) == {"new": False, "edited": True, "dropped": False, "polygons": [square]}


def test_children_are_known_by_their_ids(scripts: Path):
    """Where somebody put another child before the one that I changed, my change is of that one, and theirs stays."""
    code = """
      const [base, mine] = [{ children: [{ id: "c1", eyes: "green" }] }, { children: [{ id: "c1", eyes: "brown" }] }]
      const theirs = { children: [{ id: "c0", eyes: "blue" }, { id: "c1", eyes: "green", hair: "red" }] }
      const { both, others } = merge.compared(base, mine, theirs)
      const whole = merge.withValues(theirs, merge.changes(base, mine))
      return { both, others: others.length, whole, back: merge.withValues(whole, merge.changes(whole, base)) }
    """
    told = run(scripts, code)
    assert (told["both"], told["others"]) == ([], 2)
    first, second = {"id": "c0", "eyes": "blue"}, {"id": "c1", "eyes": "brown", "hair": "red"}
    assert told["whole"] == {"children": [first, second]}
    assert told["back"] == {"children": [{"id": "c1", "eyes": "green"}]}


def test_one_draft_is_one_alert(scripts: Path):
    """Handed in again after a lost answer, a move of the map or a reload, it has the same name; changed, it is still the same case."""
    code = """
      const named = (one) => [one.external_id, api.onceOf(one.external_id, draft.documentOf(one))]
      const typed = draft.blank()
      draft.keep({ ...typed, view: { zoom: 4 } })
      return [named(typed), named(draft.kept()), named({ ...typed, level: "appeal" }), named(draft.blank())]
    """
    typed, reloaded, changed, other = run(scripts, code)
    assert typed == reloaded
    assert (changed[0] == typed[0], changed[1] == typed[1]) == (True, False)
    assert other[0] != typed[0]


def test_what_is_not_translated_is_known_by_the_countries(scripts: Path):
    """An alert that is told in Spain lacks what is in no Spanish, and nothing that is; the title names each child."""
    code = """
      const told = { contact: [{ dial: "1", countries: ["ES", "FR"] }], last_seen: { place: { en: "station", es: "estación" } },
                     children: [{ clothing: { en: "red coat" }, marks: {} }] }
      const child = (name, years) => ({ name: { public: name }, age: { years } })
      return [spoken.untranslated(told), spoken.spokenIn("XX"), now.titleOf({ alert: { case: { children: [child("Ana", 7), child("Leo", 5)] } } })]
    """
    missing = [["es", ["clothing"]], ["fr", ["place", "clothing"]]]
    assert run(scripts, code) == [missing, "", "Ana, 7 years and Leo, 5 years"]


def test_who_says_a_name_means_the_town(scripts: Path):
    """Of those with the very name, in whatever accents, the smallest comes first; the others stay as the API has them."""
    code = """
      const one = (name, kind) => ({ name, names: {}, kind })
      return area.meant([one("Córdoba", "province"), one("Córdoba", "city"), one("Cordobilla", "city")], "cordoba").map((each) => each.kind + each.name.length)
    """
    assert run(scripts, code) == ["city7", "province7", "city10"]


def test_each_script_can_be_loaded(scripts: Path):
    """It is written as the language has it, and what it takes from others is there."""
    names = sorted(
        {path.stem for path in STATIC.glob("*.js")} - {"app", "map", "reader"}
    )  # these begin to work at once
    code = """
      given.forEach((name) => import(`./${name}.js`).catch((error) => { console.error(error); process.exitCode = 1 }))
      return given.length
    """
    assert run(scripts, code, names) == len(names)
