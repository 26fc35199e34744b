"""The key files at the start and at the end of a rotation: wherever the process is killed, the directory has whole keys, and repeating the step
destroys the old ones.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

from alertd.store.engine.codec import NEXT_KEY, Keys, write_key
from alertd.store.master_key.key_files import make_next, replace_hash_key, retire_old

OLD, NEXT, OLD_SECRET, NEW_SECRET = (bytes([letter]) * 32 for letter in b"onhs")
FINISH = "replace_hash_key(folder, b's' * 32); retire_old(folder)"
MAKE = "make_next(folder, b'')"
LINES = 150
#: Does a step in each of the folders 1, 2, ..., and kills itself before the nth line of this project's code in the nth. Prints how many were killed.
CHILD = """
import os, sys
from pathlib import Path
from alertd.store.engine import codec
from alertd.store.master_key import key_files
from alertd.store.master_key.key_files import make_next, replace_hash_key, retire_old
from geofences import files

ours, left = {one.__file__ for one in (codec, key_files, files)}, 0

def trace(frame, event, arg):
    global left
    if frame.f_code.co_filename not in ours:
        return None
    if event == "line":
        left -= 1
        if not left:
            os._exit(9)
    return trace

codes = []
for left in range(1, int(sys.argv[2]) + 1):
    folder = Path(sys.argv[1]) / str(left)
    if not (child := os.fork()):
        sys.settrace(trace)
        STEP
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert set(codes) == {0, 9}, codes
print(codes.index(0))
"""


def killed(folder: Path, step: str) -> int:
    """Kills a step at each of its lines, in a folder of its own. Returns how many lines it has."""
    command = [sys.executable, "-c", CHILD.replace("STEP", step), str(folder), str(LINES)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def rotating(folder: Path) -> None:
    """A data directory whose master key is being rotated."""
    folder.mkdir()
    for name, key in (("master.key", OLD), ("hash.key", OLD_SECRET), (NEXT_KEY, NEXT)):
        write_key(folder / name, key)


def test_a_kill_at_the_end_of_a_rotation_leaves_keys_and_repeating_it_destroys_the_old_ones(tmp_path: Path):
    """Second names of the old files show what is left on the disk after other files took their names."""
    for line in range(1, LINES + 1):
        rotating(tmp_path / str(line))
        for name in ("master.key", "hash.key"):
            os.link(tmp_path / str(line) / name, tmp_path / f"{line} {name}")
    assert killed(tmp_path, FINISH) > 20
    for line in range(1, LINES + 1):
        folder = tmp_path / str(line)
        kept = Keys.load(folder)
        assert kept.master in {OLD, NEXT}, line
        assert NEXT in {kept.master, kept.next}, line
        assert kept.hashing in {OLD_SECRET, NEW_SECRET}, line
        replace_hash_key(folder, NEW_SECRET)
        retire_old(folder)
        assert Keys.load(folder) == Keys(NEXT, NEW_SECRET, None), line
        assert {file.name for file in folder.iterdir()} == {"master.key", "hash.key"}, line
        for name, old in (("master.key", OLD), ("hash.key", OLD_SECRET)):
            assert base64.b64encode(old) not in (tmp_path / f"{line} {name}").read_bytes(), (line, name)


def test_a_kill_at_the_start_of_a_rotation_leaves_a_whole_new_key_or_none(tmp_path: Path):
    for line in range(1, LINES + 1):
        rotating(tmp_path / str(line))
        (tmp_path / str(line) / NEXT_KEY).unlink()
    assert killed(tmp_path, MAKE) > 10
    for line in range(1, LINES + 1):
        folder = tmp_path / str(line)
        kept = Keys.load(folder)
        assert (kept.master, kept.hashing) == (OLD, OLD_SECRET), line
        made = make_next(folder, b"")
        assert Keys.load(folder).next == made, line
        assert kept.next in {None, made}, line


def test_the_current_key_is_never_overwritten(tmp_path: Path):
    """A crash came before the new key took the name of the old one, and somebody deleted the new key."""
    folder = tmp_path / "data"
    rotating(folder)
    (folder / NEXT_KEY).unlink()
    os.link(folder / "master.key", folder / "master.old.key")
    retire_old(folder)
    assert Keys.load(folder).master == OLD
