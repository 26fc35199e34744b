"""The documents hold together: links lead somewhere, commands are tried, the reference is what the program says, and the site has every page."""

from __future__ import annotations

import re
from types import ModuleType

import yaml

from tests.pages import DOCS, PAGES, ROOT, WALK, fences, headings, prose, text_of

#: Languages of fenced blocks, and the test that tries the block.
TRIED = {
    "sh": "tests/acceptance/test_pages.py runs it",
    "json": "tests/acceptance/test_pages.py compares it with the answer",
    "text": "tests/acceptance/test_pages.py compares it with the output",
    "toml": "tests/acceptance/test_pages.py loads it",
    "console": "`test_console_commands_are_tried`",
    "xml": "tests/unit/alertd/api/test_distributors_page.py reads it",
    "python": "tests/unit/alertd/api/test_webhooks_page.py and tests/acceptance/test_clients.py run it",
    "yaml": "tests/acceptance/test_clients.py generates a client with it",
    "ts": "tests/acceptance/test_clients.py compiles and runs it",
    "haproxy": "tests/integration/store/test_sentinel.py runs it",
    "jinja": "a part of a template, no command",
}
#: Words of `sh` blocks outside the walk, and the test that runs the block.
ELSEWHERE = {"evidence.json": "tests/integration/alerts/test_results.py"}
#: Programs in `console` blocks that no test can try: they change the reader's machine or need a Docker daemon, or are the shell's own.
BY_HAND = {
    "python3 -m venv", "docker build", "docker run", "systemctl", "useradd", "runuser", "install", "df", "curl", "openssl", "alertd()",
    "export", "echo", "cat", "#",
}  # fmt: skip
#: Programs that tests/acceptance/test_clients.py runs; it installs their packages from the locks.
CLIENTS = {"client/bin/pip", "client/bin/python", "client/bin/openapi-python-client", "npm", "npx", "node"}
#: What may stand before a command.
VARIABLES = re.compile(r"^(?:[A-Z_]+=(?:\"[^\"]*\"|\$\([^)]*\)?|\S*) )+")
CONSOLE = re.compile(r"^\$ (.+)$", re.MULTILINE)


def test_links_lead_to_files_and_headings_that_are_there():
    """No link within the repository is broken, whichever page it is on."""
    broken, links = list[str](), 0
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if "://" in link:
                continue
            links += 1
            path, _, heading = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (heading and heading not in headings(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert links > 100
    assert not broken


def test_paths_that_are_named_exist():
    """A page that names a file or a folder of this repository names one that is there."""
    path = re.compile(r"`(?:\./)?((?:alertd|channels|geofences|ops|templates|tests)/[\w./-]*\w)/?`")
    named = [(page, found) for page in PAGES for found in path.findall(prose(page)) if "/MESSAGE/" not in found]
    assert len(named) > 50
    assert [f"{page.relative_to(ROOT)}: {found}" for page, found in named if not (ROOT / found).exists()] == []


def test_each_block_is_tried():
    """Each fenced block has a language that a test tries, and each page with calls is in the walk."""
    untried = [
        f"{page.relative_to(ROOT)}: {language or 'no language'}"
        for page in PAGES
        for language, text in fences(page)
        if language not in TRIED
        or (language == "sh" and page not in WALK and not any(one in text for one in ELSEWHERE))
    ]
    assert untried == []
    assert len(WALK) == len(set(WALK))


def program_of(line: str) -> str:
    """The program that a line of a console runs, without variables before it."""
    words = VARIABLES.sub("", line).split()
    if words[:1] == ["docker"] or words[:2] == ["python3", "-m"]:
        return " ".join(words[: 2 if words[0] == "docker" else 3])
    return words[0] if words else "export"  # variables alone


def is_tried(program: str) -> bool:
    if re.fullmatch(r"(?:~/alertd-env/bin/|\.venv/bin/)?(?:alertd|pip|python|pytest|ruff|mypy|lint-imports)", program):
        return True  # tests/architecture/test_operations.py looks alertd's commands and options up; ops/setup runs the others
    return program in BY_HAND | CLIENTS or (program.startswith("./ops/") and (ROOT / program).is_file())


def test_console_commands_are_tried():
    """A program in a console is alertd, a script of ours that exists, or one of a short list."""
    lines = [
        (page, line)
        for page in PAGES
        for language, text in fences(page)
        if language == "console"
        for line in CONSOLE.findall(text)
    ]
    assert len(lines) > 30
    unknown = [f"{page.relative_to(ROOT)}: {line}" for page, line in lines if not is_tried(program_of(line))]
    assert unknown == []


def test_an_unknown_program_would_be_found():
    assert program_of("ALERTD_STORE__DIRECTORY=/tmp/x alertd serve") == "alertd"
    assert is_tried("./ops/demo")
    assert not is_tried("./ops/no-such-script")
    assert not is_tried("alert")


def test_the_reference_is_up_to_date(reference: ModuleType):
    """If this fails, run .venv/bin/python ops/reference.py."""
    old = [
        name
        for name, page in reference.PAGES.items()
        if text_of(DOCS / "reference" / f"{name}.md") != page().rstrip() + "\n"
    ]
    assert old == []


def test_the_reference_has_every_option_with_its_meaning(reference: ModuleType):
    """An option without a word about it is a row with an empty cell."""
    page = text_of(DOCS / "reference" / "configuration.md")
    assert len(re.findall(r"^\| `\w+` \|", page, re.MULTILINE)) > 100
    assert re.findall(r"^\| `\w+` \|.*\|\s+\|$", page, re.MULTILINE) == []


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 200


def named(tree: object) -> set[str]:
    """The pages of a navigation."""
    if isinstance(tree, str):
        return {tree}
    parts = tree.values() if isinstance(tree, dict) else tree
    return {page for part in parts for page in named(part)}


def test_the_site_has_every_page():
    """Each page is in the navigation, or in a folder whose index lists it."""
    settings = yaml.safe_load(text_of(ROOT / "ops" / "mkdocs.yml"))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    listed = {page for page in pages if page.startswith("decisions/0")}
    assert named(settings["nav"]) - pages == set()
    assert pages - named(settings["nav"]) - listed == set()


def test_each_page_has_one_title():
    titles = {page: [line for line in prose(page).splitlines() if line.startswith("# ")] for page in DOCS.rglob("*.md")}
    assert [str(page) for page, found in titles.items() if len(found) != 1] == []
