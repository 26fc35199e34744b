"""An installation with a configuration of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.acceptance.conftest import Served, first_key


class Configured(Served):
    """`alertd serve --config FILE`, with nothing but the file to go by."""

    def start(self) -> None:
        command = [sys.executable, "-m", "alertd", "serve", "--config", str(self.directory / "alertd.toml")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self._said(r"listens on (\S+)")
        self.key = first_key(self._said(r"first sign-in are in (.+), which"))


def in_toml(table: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
