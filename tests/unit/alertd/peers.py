"""A server in a test's hands: the command line calls it in the place of alertd."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answers = list[tuple[int, dict[str, str], bytes] | None]  # None: the connection is closed without an answer
Peer = Callable[[Answers], tuple[str, list[Any]]]


@contextmanager
def serving_peers() -> Iterator[Peer]:
    """Starts servers that give these answers in turn; their addresses, and the requests they got."""
    running: list[ThreadingHTTPServer] = []

    def start(answers: Answers) -> tuple[str, list[Any]]:
        got: list[Any] = []
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                got.append((self.command, self.path, dict(self.headers), body))
                answer = left.pop(0)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer[0])
                for name, value in {"Content-Length": str(len(answer[2])), **answer[1]}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer[2])

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", got

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
