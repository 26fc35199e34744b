"""HTTP servers that nobody here wrote, each as a `Peer`: nginx, nghttpx in front of node, and node itself."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channels.sandbox.authority import Authority
from tests.contract import programs
from tests.contract.programs import program, running
from tests.ports import free_port

#: What a server allows at a time that allows little, and the bytes of a body that it takes unasked: less than a message has.
FEW_STREAMS, SMALL_WINDOW = 7, 1_000

LOG = (
    '{"line": "$request_method $request_uri", "protocol": "$server_protocol", "bearer": "$http_authorization", '
    '"type": "$content_type", "length": "$content_length", "connection": "$connection", "body": "$request_body"}'
)
SERVERS = """
  client_body_buffer_size 64k;
  server {{
    listen 127.0.0.1:{port} ssl; http2 {http2}; {limits}
    keepalive_requests 200;
    location /v1/projects/sandbox/ {{ proxy_pass http://127.0.0.1:{back}/accepted; }}
    location /v1/projects/chunked/ {{ ssi on; ssi_types application/json; proxy_pass http://127.0.0.1:{back}/accepted; }}
    location /v1/projects/closed/ {{ return 444; }}
    location /v1/projects/busy/ {{ add_header Retry-After 9 always; return 503; }}
  }}
  server {{
    listen 127.0.0.1:{back};
    access_log off;
    location /accepted {{ return 200 '{{"name": "projects/sandbox/messages/1"}}'; }}
  }}
"""


@dataclass(kw_only=True)
class Peer:
    """A server that answers by the project in the path: `sandbox`, `chunked`, `busy`, `closed`."""

    endpoint: str
    protocol: str
    log: Path
    leave: Callable[[], Any]  # says goodbye to every connection and serves on
    order: Callable[[str], Any] = lambda _: None  # node's alone: see push_server.js
    closed_is: tuple[str, str] = ("UNKNOWN", "CONNECTION")  # the outcome of `closed`

    def rows(self) -> list[dict[str, Any]]:
        """The requests so far, each whole."""
        return [json.loads(line) for line in self.log.read_bytes().split(b"\n")[:-1]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a peer needs to run."""

    directory: Path
    authority: Authority
    tight: bool  # few streams and small windows


@contextmanager
def nginx(place: Place, http2: str = "on") -> Iterator[Peer]:
    port = free_port()
    limits = (
        f"http2_max_concurrent_streams {FEW_STREAMS}; http2_body_preread_size {SMALL_WINDOW};" if place.tight else ""
    )
    servers = SERVERS.format(port=port, back=free_port(), http2=http2, limits=limits)
    with programs.nginx(place.directory, place.authority, servers, LOG, port) as process:
        yield Peer(
            endpoint=f"https://127.0.0.1:{port}",
            protocol="HTTP/2.0" if http2 == "on" else "HTTP/1.1",
            log=place.directory / "access.log",
            leave=lambda: process.send_signal(signal.SIGHUP),
        )


@contextmanager
def nginx_http1(place: Place) -> Iterator[Peer]:
    with nginx(place, "off") as peer:
        yield peer


@contextmanager
def node(place: Place, *, plain: bool = False) -> Iterator[Peer]:
    log, pair = place.directory / "node.ndjson", (place.authority.certificate_file, place.authority.key_file)
    settings = {"maxConcurrentStreams": FEW_STREAMS, "initialWindowSize": SMALL_WINDOW} if place.tight else {}
    script = Path(__file__).parent / "push_server.js"
    command = (program("node", "nodejs"), script, log, json.dumps(settings), *(() if plain else pair))
    with running(*command) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())

        def order(line: str) -> None:
            print(line, file=process.stdin, flush=True)

        endpoint = f"{'http' if plain else 'https'}://127.0.0.1:{port}"
        yield Peer(endpoint=endpoint, protocol="HTTP/2.0", log=log, leave=lambda: order("leave"), order=order)


@contextmanager
def nghttpx(place: Place) -> Iterator[Peer]:
    """In front of node, which sees what it passes on."""
    port, config = free_port(), place.directory / "nghttpx.conf"
    tight = (f"--frontend-http2-max-concurrent-streams={FEW_STREAMS}", f"--frontend-http2-window-size={SMALL_WINDOW}")
    with ExitStack() as stack:
        behind = stack.enter_context(node(place, plain=True))
        config.write_text("")  # what reloading reads; everything stands in the command
        process = stack.enter_context(
            running(
                program("nghttpx", "nghttp2-proxy"), f"--conf={config}", f"--frontend=127.0.0.1,{port}",
                f"--backend=127.0.0.1,{behind.endpoint.rpartition(':')[2]}", "--no-ocsp", "--log-level=ERROR",
                f"--errorlog-file={place.directory / 'nghttpx.log'}", *(tight if place.tight else ()),
                place.authority.key_file, place.authority.certificate_file, port=port,
            )
        )  # fmt: skip
        yield Peer(
            endpoint=f"https://127.0.0.1:{port}",
            protocol="HTTP/2.0",
            log=behind.log,
            leave=lambda: process.send_signal(signal.SIGHUP),
            closed_is=("UNKNOWN", "UNAVAILABLE"),  # a 502 of its own: the backend may have had it
        )


PEERS = {"nginx-http1": nginx_http1, "nginx": nginx, "nghttpx": nghttpx, "node": node}
