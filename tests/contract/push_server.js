// An HTTP server of node's own for push: over TLS and HTTP/2 with a certificate and a key, else plain HTTP/1.1 behind a proxy.
// Arguments: log file, settings of HTTP/2 as JSON [, certificate, key]. Prints its port. Each request is a line of the log, written
// before the answer. Orders on stdin, one a line: "leave" says goodbye to every session, a JSON object is sent to each as settings.
"use strict";
const fs = require("fs");
const http = require("http");
const http2 = require("http2");
const [logFile, settings, certificate, key] = process.argv.slice(2);
const log = fs.openSync(logFile, "w");
const sessions = new Set();
const ACCEPTED = '{"name": "projects/sandbox/messages/1"}';

const ANSWERS = {
  sandbox: (response) => response.end(ACCEPTED),
  chunked: (response) => {
    response.write(ACCEPTED.slice(0, 9));
    setImmediate(() => response.end(ACCEPTED.slice(9)));
  },
  busy: (response) => {
    response.writeHead(503, { "retry-after": "9", "content-type": "text/html" });
    response.end("<html>busy</html>");
  },
  closed: (response) => (response.stream ? response.stream.session : response.socket).destroy(),
};

function serve(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const { authorization, via, "content-type": type, "content-length": length } = request.headers;
    const version = via ? `${via.split(" ")[0]}.0` : request.httpVersion;
    const row = {
      line: `${request.method} ${request.url}`, protocol: `HTTP/${version}`, bearer: authorization, type, length,
      body: Buffer.concat(parts).toString(), connection: (response.stream ? response.stream.session : response).socket.remotePort,
    };
    fs.writeSync(log, JSON.stringify(row) + "\n");
    ANSWERS[request.url.split("/")[3]](response);
  });
}

const server = certificate
  ? http2.createSecureServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key), settings: JSON.parse(settings) }, serve)
  : http.createServer(serve);
server.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
  session.on("error", () => {});
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
require("readline").createInterface({ input: process.stdin }).on("line", (order) => {
  for (const session of sessions) {
    if (order === "leave") session.close();
    else session.settings(JSON.parse(order));
  }
});
