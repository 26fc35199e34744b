"""A rotation of the master key seals again everything that this code seals under it: the table of keys says so of each kind of key."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from alertd.store.engine import key_table
from alertd.store.master_key.resealing import SEALED

ROOT = Path(__file__).parents[2] / "alertd"
#: Modules that seal under the master key: what each of their places in the code seals, as the table of keys calls it.
SEALERS = {
    "store/alerts/record_fields.py": ["{a:<chain>}:v:<id>"],
    "store/engine/sealed_queue.py": ["{m}:carrier-tests"],
    "store/records/case_keys.py": ["{c:<case>}"],
    "store/organisations/api_keys.py": ["{k:<key id>}"],
    "store/master_key/state.py": ["{m}:secrets", "{m}:secrets"],
    "store/photos/photos.py": ["{f:<media>}"],
    "store/organisations/operators.py": ["{o:<org>}:operators"],
    "store/organisations/organisations.py": ["{m}:stops", "{o:<org>}:record", "{o:<org>}:texts"],
    "store/organisations/paging.py": ["{o:<org>}:oncall", "{a:<chain>}:paged:<id>"],
    "store/people/subscribers.py": ["{s:<number // 512>}:<number>"],
    "store/people/people_map.py": ["a file: made again if it does not open"],
    "store/master_key/schema.py": ["{m}:cell-key"],
    "store/organisations/sessions.py": ["{z:<hash>}"],
    "store/sharing/webhooks.py": ["{v:<org>}:hooks"],
}
#: Kinds whose sealed values come from another key, or from the same place in the code as another kind.
BY_OTHERS = {
    "{c:<case>}:dropped": "{c:<case>}",
    "{v:<org>}:distributors": "{v:<org>}:hooks",
    "{m}:sign-ups": "{m}:carrier-tests",
}
#: These hold values that are sealed or wrapped, and not under the master key.
OTHER_KEYS = {
    "{a:<chain>}:published": "the case's",
    "{c:<case>}:kept": "the case's",
    "{c:<case>}:held": "names what is sealed under the case's key",
    "{v:<org>}:distribution:<chain>": "the case's",
    "{u:<org>}": "the audit's",
    "{g:<z8>}:<tile>": "the cells'",
    "{r:<region>}:<shard>": "the cells'",
    "{m}:seals": "none: it counts how often a key sealed",
}


def seals(file: Path) -> Iterator[str]:
    """The places of a file that seal under the master key, by the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and (
            node.attr == "new_key"
            or (node.attr == "seal" and ast.unparse(node.value).endswith("codec.master"))
            or (node.attr == "staff" and isinstance(node.ctx, ast.Load))
        ):
            yield ast.unparse(node)


def test_every_place_that_seals_under_the_master_key_is_known_here_by_what_it_seals():
    files = [file for file in ROOT.rglob("*.py") if file.name not in {"codec.py", "resealing.py"}]
    found = Counter({str(file.relative_to(ROOT)): len([*seals(file)]) for file in files})
    assert +found == Counter({file: len(kinds) for file, kinds in SEALERS.items()})


def test_a_rotation_seals_again_every_kind_that_the_code_seals():
    kinds = {kind for kinds in SEALERS.values() for kind in kinds if kind.startswith("{")} | BY_OTHERS.keys()
    assert kinds == set(SEALED)


def test_a_kind_of_key_that_is_called_sealed_says_under_which_key():
    called = {kind.name for kind in key_table.TABLE if re.search(r"\b(sealed|wrapped)\b", kind.holds)}
    assert called - set(SEALED) == OTHER_KEYS.keys()
