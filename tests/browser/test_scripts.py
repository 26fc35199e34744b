"""What the console's scripts make of what is typed, without a browser: as node runs them, on clocks that are not those of the case."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alertd.api.application import needs
from alertd.console import STATIC
from alertd.console.tables import module
from alertd.console.words import modules
from tests.acceptance.conftest import CHANNELS
from tests.contract.programs import program

pytestmark = pytest.mark.peer

#: What the scripts find in a tab, besides what node has: a place for what is kept in it, an address, and a language.
TAB = """
const tab = () => new Proxy({}, { get: (all, name) => ({
  getItem: (key) => (key in all ? all[key] : null), setItem: (key, text) => { all[key] = String(text) }, removeItem: (key) => { delete all[key] },
  clear: () => Object.keys(all).forEach((key) => delete all[key]) })[name] ?? all[name] })
Object.assign(globalThis, { sessionStorage: tab(), localStorage: tab(), location: new URL('http://localhost/console'), window: globalThis })
globalThis.BroadcastChannel = class extends EventTarget { postMessage() {} }  // one of node's own would keep it waiting
Object.defineProperty(globalThis, "navigator", { value: { language: "en" } })
"""


#: Where each script lies, by its name.
FILES = {path.stem: path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js") if "vendor" not in path.parts}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts and their tables, as modules of node."""
    folder = tmp_path_factory.mktemp("scripts") / "static"
    shutil.copytree(STATIC, folder, ignore=shutil.ignore_patterns("map", "maplibre*", "*.css"))
    for name, text in {"tables.js": module(needs(), CHANNELS), **modules(STATIC / "words.json")}.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "tab.mjs").write_text(TAB, encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return folder


def run(scripts: Path, code: str, given: Any = None, zone: str = "America/Caracas") -> Any:
    """What `code` answers on a computer in that zone: it has some scripts by their names, and `given`."""
    head = "".join(
        f"import * as {name} from './{FILES[name]}'\n"
        for name in (
            "api",
            "area",
            "channels",
            "draft",
            "edit",
            "merge",
            "messages",
            "now",
            "shapes",
            "spoken",
            "words",
        )
    )
    whole = f"{head}const given = {json.dumps(given)}\nconsole.log(JSON.stringify(await (async () => {{ {code} }})()))"
    done = subprocess.run(
        [program("node", "nodejs"), "--import", "./tab.mjs", "--input-type=module", "-e", whole],
        cwd=scripts, env={**os.environ, "TZ": zone}, capture_output=True, text=True, timeout=60, check=False,
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


def test_what_is_small_is_seen_beside_a_long_coast(scripts: Path):
    """Where an outline is drawn with fewer corners than it has, a square that is left out keeps all of its own, and an island is one."""
    code = """
      const round = (n, size) => Array.from({ length: n + 1 }, (_, i) => [size * Math.cos(i / n * 2 * Math.PI), size * Math.sin(i / n * 2 * Math.PI)])
      const drawn = shapes.thinned([round(20000, 1), [[3, 3], [4, 3], [4, 4], [3, 4], [3, 3]], round(120, 0.1)])
      const islets = shapes.thinned(Array.from({ length: 1000 }, () => round(90, 0.1)))
      return [...drawn.map((ring) => ring.length), islets.reduce((n, ring) => n + ring.length, 0)]
    """
    coast, square, island, islets = run(scripts, code)
    assert 1000 < coast < 3000
    assert square == 5
    assert 50 <= island <= 121
    assert 4000 <= islets < 10000


def test_an_hour_that_clocks_say_twice_is_the_one_that_was_proposed(scripts: Path):
    """In the night in which they go back an end that nobody touched is the moment that was counted out, and not an hour earlier."""
    code = """
      const proposed = new Date(given)
      const shown = draft.local(proposed)
      Date.now = () => proposed.getTime() - 12 * 3600e3
      return [shown, draft.proposedOr(shown, proposed), draft.proposedOr("2026-10-25T04:30", proposed), draft.documentOf(draft.blank()).expires]
    """
    shown, untouched, typed, drafted = run(scripts, code, "2026-10-25T01:30:00Z", "Europe/Madrid")
    assert shown == "2026-10-25T02:30"
    assert untouched == "2026-10-25T01:30:00.000Z"
    assert typed == "2026-10-25T03:30:00.000Z"
    assert drafted == "2026-10-25T01:00:00.000Z"


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
    """An alert that is told in Spain lacks what is in no Spanish, and nothing that is; the title names each child, and
    no age changes sides because a name is written from right to left.
    """
    code = """
      const told = { contact: [{ dial: "1", countries: ["ES", "FR"] }], last_seen: { place: { en: "station", es: "estación" } },
                     children: [{ clothing: { en: "red coat" }, marks: {} }] }
      const child = (name, years) => ({ name: { public: name }, age: { years } })
      return [spoken.untranslated(told), spoken.spokenIn("XX"), now.titleOf({ alert: { case: { children: [child("علي", 7), child("Leo", 5)] } } })]
    """
    missing = [["es", ["clothing"]], ["fr", ["place", "clothing"]]]
    assert run(scripts, code) == [missing, "", "\u2068علي\u2069, 7 years and Leo, 5 years"]


def test_who_says_a_name_means_the_town(scripts: Path):
    """Of those with the very name, in whatever accents, the smallest comes first; the others stay as the API has them."""
    code = """
      const one = (name, kind) => ({ name, names: {}, kind })
      return area.meant([one("Córdoba", "province"), one("Córdoba", "city"), one("Cordobilla", "city")], "cordoba").map((each) => each.kind + each.name.length)
    """
    assert run(scripts, code) == ["city7", "province7", "city10"]


def test_each_script_can_be_loaded(scripts: Path):
    """It is written as the language has it, and what it takes from others is there."""
    names = sorted(set(FILES.values()) - {"app.js", "area/map.js", "area/reader.js"})  # these begin to work at once
    code = """
      given.forEach((name) => import(`./${name}`).catch((error) => { console.error(error); process.exitCode = 1 }))
      return given.length
    """
    assert run(scripts, code, names) == len(names)


@pytest.mark.parametrize("clock", ["", "202614-11-25T14:30", "2026-13-25T14:30"])
def test_a_time_that_is_none_is_left_to_the_api(scripts: Path, clock: str):
    """While an end or a time last seen is half typed, the form goes on: nothing is made up for it, and the API asks for it."""
    code = """
      const typed = { ...draft.blank(), expires: given, seen: { at: given, zone: "UTC", place: {} } }
      const sent = draft.documentOf(typed)
      return [sent.expires ?? null, draft.previewOf({ ...typed, contacts: [{ way: "dial", value: "116000", countries: "ES" }] }).kind, words.moment(sent.expires)]
    """
    assert run(scripts, code, clock) == [None, "missing-child", "–"]


def test_an_area_across_the_antimeridian_is_looked_at_from_near(scripts: Path):
    """Whoever approves a circle in Fiji sees that circle, and not the whole world with nothing to be seen on it; any other area is where it was."""
    code = """
      const { boundsOf } = await import("./area/ground.js")
      const part = (west, east) => [[[west, -18], [east, -18], [east, -17], [west, -18]]]
      const area = (...parts) => boundsOf({ type: "MultiPolygon", coordinates: parts })
      return [area(part(179.4, 180), part(-180, -179.6)), area(part(-9, -7), part(1, 3)), area(part(-60, -58))]
    """
    assert run(scripts, code) == [[179.4, -18, 180.4, -17], [-9, -18, 3, -17], [-60, -18, -58, -17]]


def test_how_long_one_waits_is_told_to_the_minute(scripts: Path):
    """A ring that is an hour and forty minutes later, and an approval alone after as long, are not said to be two hours later."""
    code = "return [89, 90, 100, 120, 140].map((minutes) => words.span(minutes * 60))"
    told = ["89 minutes", "one hour and 30 minutes", "one hour and 40 minutes", "2 hours", "2 hours and 20 minutes"]
    assert run(scripts, code) == told


def test_a_time_of_another_year_says_of_which(scripts: Path):
    """In a list that goes back for years no alert is taken for one of this week."""
    code = """
      const year = new Date().getFullYear()
      return [words.moment(`${year}-06-01T12:00:00Z`).includes(year), words.moment("2019-06-01T12:00:00Z").includes(2019), words.date("2019-06-01T12:00:00Z")]
    """
    assert run(scripts, code) == [False, True, "Jun 1, 2019"]


def test_a_full_tab_says_so(scripts: Path):
    """What cannot be kept is told as such, and stops nobody."""
    code = """
      globalThis.sessionStorage = { setItem() { throw new Error("full") } }
      return [draft.keep(draft.blank()), draft.keepEdit("A1", {})]
    """
    assert run(scripts, code) == [False, False]


def test_a_number_is_one_in_any_digits(scripts: Path):
    """An age in Arabic digits is that age; what is none is told beside its field."""
    code = """
      const { child } = draft.blank()
      const years = (age) => draft.documentOf({ ...draft.blank(), child: { ...child, age } }).case.children[0].age.years
      return [years("٧"), years("۱۲"), ["٧", "7 años", "1.18", ""].map(draft.isNoNumber)]
    """
    assert run(scripts, code) == [7, 12, [False, True, True, False]]


POINT = '{"type": "Point", "coordinates": [0, 0]}'
TRIANGLE = '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TRIANGLE.replace("1", "4140000"), {"fault": "file-metres"}),
        (TRIANGLE.replace("1", "185"), {"fault": "file-metres"}),
        (TRIANGLE.replace("[1", "[185"), {"corners": 4, "box": [0, 0, 185, 1]}),
        (TRIANGLE.replace("1", "null"), {"fault": "file-unknown"}),
        ("<c:alert><c:polygon>1, 0,1 1,1 0,0</c:polygon></c:alert>", {"fault": "file-unknown"}),
        (
            f'{{"type": "GeometryCollection", "geometries": [{POINT}, {TRIANGLE}, {POINT}]}}',
            {"corners": 4, "ignored": 2},
        ),
        ("<kml><Point><coordinates>0,0</coordinates></Point></kml>", {"fault": "file-empty"}),
        ("<kml>" + "<Polygon>" * 600_000 + "</kml>", {"fault": "file-empty"}),
        ("<kml>" + "<Polygon " * 600_000 + "</kml>", {"fault": "file-empty"}),
        ("<kml>" + "<!--" * 600_000 + "</kml>", {"fault": "file-unknown"}),
    ],
    ids=["metres", "no latitude", "antimeridian", "null", "nothing", "mixed", "points", "unclosed", "open", "comments"],
)
def test_a_file_is_read_once_and_told_as_what_it_is(scripts: Path, text: str, told: dict[str, Any]):
    """What is in metres, or has holes in its numbers, is no area elsewhere, and what crosses the antimeridian is one; lines and points that are left out are counted; and what
    was made to keep a reader busy is read from its beginning to its end like any other.
    """
    (scripts / "file").write_text(text, encoding="utf-8")
    code = """
      const { readFileSync } = await import("node:fs")
      let told
      Object.assign(globalThis, { onmessage: null, postMessage: (answer) => { told = answer } })
      await import("./area/reader.js")
      onmessage({ data: readFileSync("file", "utf-8") })
      return Object.fromEntries(given.map((name) => [name, told[name]]))
    """
    assert run(scripts, code, list(told)) == told


def test_an_area_keeps_what_the_form_does_not_know(scripts: Path):
    """A buffer, groups and the pace of a ring are counted and sent as they were, whatever is changed beside them."""
    target = {
        "regions": [], "polygons": [], "circles": [{"center": [-5.9, 37.4], "radius_km": 2}], "groups": ["crew"], "buffer_km": 5,
        "rings": [{"center": [-5.9, 37.4], "radius_km": 3, "loudness": "loud", "delay_min": 0, "pace_per_min": 60}],
        "exclude": {"regions": [], "polygons": [], "circles": []},
    }  # fmt: skip
    code = "return draft.targetOf(draft.draftOf({ case: {}, channels: [], target: given }, {}))"
    assert run(scripts, code, target) == target


def test_what_changed_in_an_area_is_told_by_its_numbers(scripts: Path):
    """A circle that grew, a ring that is later and a corner that moved read as what they were and as what they are."""
    code = """
      const triangle = (x) => ({ type: "Polygon", coordinates: [[[0, 0], [x, 0], [1, 1], [0, 0]]] })
      const ring = (delay_min) => ({ center: [-5.98, 37.39], radius_km: 5, loudness: "loud", delay_min })
      const area = (km, delay, x) => edit.said({ circles: [{ center: [-5.9845, 37.3891], radius_km: km }], rings: [ring(delay)], polygons: [triangle(x)] })
      return [area(1, 0, 1), area(25, 15, 1.5)]
    """
    assert run(scripts, code) == [
        "1 km around -5.9845, 37.3891, Loud within 5 km around -5.98, 37.39, and Shape of 3 corners (0, 0; 1, 0; 1, 1; 0, 0)",
        "25 km around -5.9845, 37.3891, Loud within 5 km, 15 minutes later around -5.98, 37.39, and Shape of 3 corners (0, 0; 1.5, 0; 1, 1; 0, 0)",
    ]


def test_a_change_whose_answer_was_lost_is_nobody_elses(scripts: Path):
    """What is there already as its author wants it is handed in; only what differs is somebody else's."""
    code = """
      const there = (eyes) => ({ state: "returned", alert: { case: { children: [{ id: "c1", eyes }] }, channels: [] } })
      const base = draft.draftOf(there("green").alert, {})
      const mine = { etag: '"1"', original: there("green").alert, base: draft.documentOf(base), draft: { ...base, child: { ...base.child, eyes: "brown" } } }
      const asked = []
      const saved = async (eyes) => {
        globalThis.fetch = async (path, { method }) => {
          asked.push(method)
          return new Response(JSON.stringify(method === "GET" ? there(eyes) : {}), { status: method === "PATCH" ? 412 : 200 })
        }
        return (await edit.save("A1", mine, () => {})) === null
      }
      return [await saved("brown"), await saved("blue"), asked]
    """
    assert run(scripts, code) == [True, False, ["PATCH", "GET", "POST", "PATCH", "GET"]]


@pytest.mark.parametrize(
    ("state", "counts", "share"),
    [
        ("sending", {"targeted": 400, "accepted": 400}, 99),
        ("sent", {"targeted": 400, "accepted": 400}, 100),
        ("stood_down", {"targeted": 400, "accepted": 300, "delivered": 100}, 100),
        ("stood_down", {"targeted": 400, "accepted": 399, "in_flight": 1}, 99),
        ("stood_down", {"targeted": 400, "accepted": 100, "cancelled": 300}, 25),
    ],
)
def test_all_is_100_once_nobody_more_is_told(scripts: Path, state: str, counts: dict[str, int], share: int):
    """Of an alert that was told whole and then stood down nothing is missing; while more may come all is never yet all."""
    progress = {"state": state, "channels": {"push": counts}, "few": []}
    code = "const { told, targeted } = channels.totals(given); return channels.shareOf(told, targeted, channels.isDone(given))"
    assert run(scripts, code, progress) == share


def test_the_time_is_that_of_the_api(scripts: Path):
    """What is decided and what is over is so by its clock, however wrong that of the author's computer is."""
    code = """
      const there = Date.now() - 3600e3
      globalThis.fetch = async () => new Response("{}", { headers: { Date: new Date(there).toUTCString() } })
      await api.get("/v1/me")
      return Math.abs(api.now() - there) < 600e3
    """
    assert run(scripts, code) is True


def test_an_end_that_nobody_set_is_of_now_and_not_of_when_the_form_was_opened(scripts: Path):
    """The next alert from a tab that was open all day does not end within the hour; an end that somebody set stays as it was."""
    code = """
      const hoursLeft = () => (new Date(draft.documentOf(draft.kept()).expires) - api.now()) / 3600e3
      const later = new Date(Date.now() + 11 * 3600e3)
      draft.keep(draft.blank())
      globalThis.fetch = async () => new Response("{}", { headers: { Date: later.toUTCString() } })
      await api.get("/v1/me")
      const untouched = hoursLeft()
      draft.keep({ ...draft.blank(), expires: draft.local(later) })
      return [untouched > 10.9, untouched <= 12, Math.round(hoursLeft()), draft.draftsLeft()]
    """
    assert run(scripts, code) == [True, True, 0, True]


def test_what_another_person_left_in_a_tab_is_gone(scripts: Path):
    """Whoever comes back after a lost session finds their draft; anybody else finds none."""
    code = """
      const [ana, bea] = ["ana", "bea"].map((subject) => ({ organisation: "centre", subject }))
      const typed = () => draft.kept().number
      api.session.begin("key")
      api.session.claim(ana)
      draft.keep({ ...draft.blank(), number: "SE-1" })
      api.session.claim(ana)
      const back = typed()
      api.session.claim(bea)
      return [back, typed(), api.session.key]
    """
    assert run(scripts, code) == ["SE-1", "", "key"]


def test_what_has_no_room_is_told_of_the_channels_that_have_none(scripts: Path):
    """Whoever writes a link sees that it stands in the mail, and where it does not."""
    given = [
        {"channel": "push", "left_out": ["contact https://centre.example/tell"]},
        {"channel": "webpush", "left_out": ["contact https://centre.example/tell"]},
        {"channel": "sms", "left_out": ["contact https://centre.example/tell", "hair"]},
        {"channel": "mail", "left_out": []},
    ]
    told = run(scripts, "return messages.withoutRoom(given)", given)
    assert told == [
        ["Phones (app push), Browsers (web push), and Text messages (SMS)", ["https://centre.example/tell"]],
        ["Text messages (SMS)", ["Hair"]],
    ]


def test_a_text_without_a_translation_is_called_as_its_field_is(scripts: Path):
    """The path of a photo's description is not shown by its last name, `alt`."""
    told = run(
        scripts, "return messages.fields(given)", ["/case/children/0/photos/0/alt/es", "/case/last_seen/place/es"]
    )
    assert told == "Photo description and Place"
