"""An HTTP/2 server for tests that say what it does with each request: h2 reads what comes, the test may write anything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events


class Served(asyncio.Protocol):
    """One connection: each whole request goes to `server.do`, with what it does by name."""

    def __init__(self, server):
        self.server = server
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.bodies = {}

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections.append(self)
        self.server.made += 1
        self.http.initiate_connection()
        self.http.update_settings(self.server.settings)
        self.flush()

    def data_received(self, data):
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                if self.server.reads:
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.server.do(self, event.stream_id, self.bodies.pop(event.stream_id))
            elif isinstance(event, h2.events.StreamReset):
                self.server.resets += 1
        self.flush()

    def connection_lost(self, _):
        self.server.connections.remove(self)

    def flush(self):
        self.transport.write(self.http.data_to_send())

    def answer(self, stream, body):
        self.http.send_headers(stream, [(":status", "200")])
        self.http.send_data(stream, body, end_stream=True)
        self.server.got.append(body)


class Server:
    """What it does with a request is `do`, which tests replace; `got` are the bodies that it answered."""

    def __init__(self):
        self.connections, self.got, self.resets, self.made = [], [], 0, 0
        self.settings, self.reads = {}, True
        self.do = Served.answer


@asynccontextmanager
async def listening(authority):
    """One, with its `port`, until the end."""
    made, context = Server(), authority.server_context()
    context.set_alpn_protocols(["h2"])
    taking = await asyncio.get_running_loop().create_server(lambda: Served(made), "127.0.0.1", 0, ssl=context)
    made.port = taking.sockets[0].getsockname()[1]
    yield made
    taking.close()
    for connection in list(made.connections):
        connection.transport.abort()
