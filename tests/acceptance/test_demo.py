"""The demo of the README, as a newcomer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_notifies_everyone_inside_and_a_stranger_who_signs_up():
    """It ends by itself with the figures: nobody outside, nobody missed, nobody twice, and the mail of the person who signed up on the page."""
    command = [sys.executable, "ops/demo.py", "--once", "--port", "0", "--subscribers", "2000"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert (told["outside"], told["missed"], told["twice"], told["state"]) == (0, 0, 0, "sent")
    assert told["inside"] > 100
    assert told["stranger_mailed_s"] > 0
    assert "its link opens the page" in " ".join(ended.stderr.split())
