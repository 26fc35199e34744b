"""Programs that nobody here wrote: where they are, and how they run until a test is over."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from channels.sandbox.authority import Authority
from tests.ports import wait_for_port

_NGINX = """
{user} daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  log_format sent escape=json '{log}';
  access_log {dir}/access.log sent;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  default_type application/json;
  ssl_certificate {certificate}; ssl_certificate_key {key};
  {servers}
}}
"""


def program(name: str, package: str) -> str:
    """Where it is."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    assert found, f"{name} is missing: apt-get install {package}"
    return found


@contextmanager
def running(*command: object, port: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A program until the block ends. Without a `port` to wait for, it says one itself."""
    process = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if port is not None:
            wait_for_port(port)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def nginx(directory: Path, authority: Authority, servers: str, log: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """nginx with these `server` blocks and a certificate for 127.0.0.1; each request is a line, a JSON object of the
    fields in `log`, of `directory`/access.log.
    """
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    pair = {"certificate": authority.certificate_file, "key": authority.key_file}
    config.write_text(_NGINX.format(dir=directory, user=user, log=log, servers=servers, **pair))
    with running(program("nginx", "nginx"), "-e", directory / "error.log", "-c", config, port=port) as process:
        yield process
