"""Shared code of the push and web push benches: the messages, and an nginx with TLS that gives the same answer to every request.

The sandbox runs beside it for its certificates, tokens and settings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from senders import free_port, stamp, wait_for

from channels.base import PushMessage

ROOT = Path(__file__).parents[2]
TITLE, TEXT = "Niña desaparecida", "Lucía P., 7 años, abrigo rojo. Vista en la estación de Santa Justa, Sevilla. " * 3

CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log crit;
events {{ worker_connections 2048; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000; keepalive_timeout 120s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port} ssl backlog=2048; http2 on;
    ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;
    location / {{ {answer} }}
  }}
}}
"""


def message() -> PushMessage:
    return PushMessage(stamp=stamp(), title=TITLE, body=TEXT)


def token_of(number: int) -> str:
    """As long as real ones."""
    return f"{number:022}:APA91b" + "x" * 134


@contextmanager
def answering(answer: str, carrier: str) -> Iterator[dict[str, Any]]:
    """Runs nginx with the configuration `answer` for every request. Yields a channel's settings for this carrier of the sandbox,
    with nginx as the endpoint.
    """
    with tempfile.TemporaryDirectory(prefix="alertd-bench-") as directory, _serving(Path(directory), answer) as served:
        endpoint, told = served
        yield {**told[carrier], "endpoint": endpoint}


@contextmanager
def _serving(directory: Path, answer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the URL of nginx and the settings of the sandbox."""
    sandbox = subprocess.Popen([sys.executable, "-m", "alertd", "sandbox", "--directory", str(directory)], cwd=ROOT)
    server = None
    try:
        ready = directory / "sandbox.json"
        wait_for(ready.exists)
        port = free_port()
        (directory / "nginx.conf").write_text(CONFIGURATION.format(dir=directory, port=port, answer=answer))
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "nginx"
        server = subprocess.Popen([program, "-e", "stderr", "-c", str(directory / "nginx.conf")])
        wait_for((directory / "nginx.pid").exists)
        yield f"https://127.0.0.1:{port}", json.loads(ready.read_text())
    finally:
        for process in filter(None, (server, sandbox)):
            process.terminate()
            process.wait(20)
