"""The commands' client of the API: makes a call, retries after a temporary failure, and puts refusals into words.

A retry never repeats an effect: every POST carries an Idempotency-Key that its retries share.
"""

from __future__ import annotations

import http
import http.client
import json
import shlex
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlencode, urlsplit

T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"
#: Maximum seconds to wait for the next data of an answer. A preview of a continent, or an import of a thousand lines,
#: takes seconds; the event stream is silent for at most 15 s.
TIMEOUT_S = 60.0
#: Seconds between retries, 15 s together: a service that restarts is back by then.
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
LONGEST_WAIT_S = 60.0  # maximum seconds before a retry, even if Retry-After is longer
READY_TIMEOUT_S = 5.0  # seconds; short, because a health check repeats soon
#: Hosts on this machine, which the client calls without the proxy that the environment names.
HERE = frozenset({"127.0.0.1", "localhost", "::1"})
#: Problem types and statuses after which the client repeats the same call. Proxies send these statuses while the
#: service behind them restarts.
TEMPORARY = frozenset({"store-unavailable", "idempotency-in-progress", "rate-limited"})
GATEWAY = frozenset({502, 503, 504})


class RefusedError(Exception):
    """The service or the command refused, or the call failed. The message says why and what to do. The command ends
    with 1.
    """

    exit_code: ClassVar[int] = 1


class NobodyError(RefusedError):
    """The alert was sent, and there was no one to notify. The command ends with 3."""

    exit_code = 3


class UnreachableError(RefusedError):
    """The service did not answer, or its answer broke off."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because the key is for one address and must not be sent to another."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """Calls the API of one service with one key. `url` may have a path, as behind a proxy. Without a key, only the
    health check works.
    """

    def __init__(self, url: str, key: str | None) -> None:
        """Raises RefusedError for an invalid URL or key."""
        host = _host(url)
        if host is None:
            raise RefusedError(f"{url} is no address of a service; it looks like https://alerts.example")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise RefusedError("the key has characters that no key has")
        self._url = url.rstrip("/")
        self._key = key
        # No proxy to this machine, nor over plain HTTP, where the proxy could read the key and the data.
        own = [urllib.request.ProxyHandler({})] if host in HERE or urlsplit(url).scheme == "http" else []
        self._opener = urllib.request.build_opener(_NoRedirect, *own)
        self._reached = False  # True once the service answered: then a lost connection is retried

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Returns the JSON of the answer to a GET. Leaves out members of `query` that are None. Raises RefusedError."""
        request = self._request("GET", path, query)
        return self._parsed(self._repeated(lambda: self._read(request)))

    def get_versioned(self, path: str) -> dict[str, Any]:
        """Returns the JSON object of the answer to a GET, with the number in its ETag as `version`. Raises
        RefusedError.
        """
        raw, etag = self._read_with(self._request("GET", path), "ETag")
        return {**self._parsed(raw), "version": int(etag.strip('"')) if etag else None}

    def submit(
        self, path: str, document: bytes, query: Mapping[str, Any] | None, *, idempotency_key: str, content_type: str
    ) -> tuple[Any, bool]:
        """Posts an alert. Returns the answer's JSON, and whether the answer repeats that of an earlier submission of
        this alert. Raises RefusedError.
        """
        request = self._request(
            "POST", path, query, data=document, content_type=content_type, idempotency_key=idempotency_key
        )
        raw, replayed = self._read_with(request, "Idempotent-Replayed")
        return self._parsed(raw), replayed == "true"

    def post(
        self, path: str, body: Any = None, query: Mapping[str, Any] | None = None, *, version: int | None = None
    ) -> Any:
        """Posts a JSON value, or bytes that are JSON, and returns the answer's JSON. A retry has no second effect.

        `version`: the version that the caller saw; the service refuses the call if the object has changed since. Raises
        RefusedError.
        """
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = self._request("POST", path, query, data=data, content_type=JSON)
        if version is not None:
            request.add_header("If-Match", f'"{version}"')
        return self._parsed(self._repeated(lambda: self._read(request)))

    def put(self, path: str, body: bytes) -> Any:
        """Puts JSON; a repeated call has no second effect. Returns the answer's JSON. Raises RefusedError."""
        request = self._request("PUT", path, data=body, content_type=JSON)
        return self._parsed(self._repeated(lambda: self._read(request)))

    def delete(self, path: str) -> None:
        """Deletes an object. Also succeeds if an earlier attempt broke off and the object is now gone, because that
        attempt deleted it. Raises RefusedError, also for an answer that does not confirm the deletion.
        """
        request, broke_off = self._request("DELETE", path), False

        def attempt() -> None:
            nonlocal broke_off
            try:
                with self._open(request) as response:
                    if response.status != http.HTTPStatus.NO_CONTENT:
                        raise self._is_another()
            except urllib.error.HTTPError as refusal:
                if not (broke_off and refusal.code == http.HTTPStatus.NOT_FOUND):
                    raise
                refusal.close()
            except (OSError, http.client.HTTPException):
                broke_off = True
                raise

        self._repeated(attempt)

    def post_lines(self, path: str, lines: bytes) -> list[Any]:
        """Posts NDJSON and returns the JSON value of each line of the answer, also of a line that reports a refusal.
        Raises RefusedError if the service refuses the whole call or does not answer.
        """
        request = self._request("POST", path, data=lines, content_type=NDJSON)
        return [json.loads(line) for line in self._repeated(lambda: self._read(request)).splitlines() if line]

    def get_lines(self, path: str) -> Iterator[Any]:
        """Yields the value of each line of an NDJSON answer. Raises RefusedError, and UnreachableError if the answer
        breaks off, so that half an answer never looks complete.
        """
        yield from map(self._parsed, self._stream(path, NDJSON))

    def events(self, path: str) -> Iterator[Any]:
        """Yields the data of each server-sent event until the stream ends. Raises RefusedError, and UnreachableError if
        the stream breaks off.
        """
        for line in self._stream(path, "text/event-stream"):
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))

    def is_ready(self) -> tuple[bool, str]:
        """Returns whether /readyz answers that the service is ready, and its text, or the reason why it does not
        answer. Does not retry or raise.
        """
        try:
            with self._open(self._request("GET", "/readyz"), READY_TIMEOUT_S) as response:
                return True, response.read().decode().strip()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return False, refusal.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            return False, str(self._unreachable(error))

    def _parsed(self, raw: bytes) -> Any:
        """Returns the JSON in an answer. Raises RefusedError if it is no JSON: then the server is not alertd."""
        try:
            return json.loads(raw)
        except ValueError:
            raise self._is_another() from None

    def _is_another(self) -> RefusedError:
        """Returns the error for an answer that cannot come from alertd."""
        return RefusedError(f"what answers at {self._url} is not alertd; ALERTD_URL names its address")

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        content_type: str | None = None,
        accept: str = JSON,
        idempotency_key: str | None = None,
    ) -> urllib.request.Request:
        """Returns a request with the key. A POST has an Idempotency-Key: the given one, or a new random one."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        headers = {"Accept": accept, "User-Agent": "alertd-cli"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if content_type and data is not None:
            headers["Content-Type"] = content_type
        if method == "POST":
            headers["Idempotency-Key"] = idempotency_key or uuid.uuid4().hex
        url = self._url + path + (f"?{urlencode(given)}" if given else "")
        return urllib.request.Request(url, data, headers, method=method)  # noqa: S310  http or https, see __init__

    def _open(self, request: urllib.request.Request, timeout_s: float = TIMEOUT_S) -> http.client.HTTPResponse:
        """Sends a request and returns the open response. Raises HTTPError for a refusal, OSError and HTTPException."""
        response: http.client.HTTPResponse = self._opener.open(request, timeout=timeout_s)
        self._reached = True
        return response

    def _read(self, request: urllib.request.Request) -> bytes:
        with self._open(request) as response:
            return response.read()

    def _read_with(self, request: urllib.request.Request, header: str) -> tuple[bytes, str | None]:
        """Returns the answer's body and one of its headers (None if absent). Retries. Raises RefusedError."""

        def attempt() -> tuple[bytes, str | None]:
            with self._open(request) as response:
                return response.read(), response.headers[header]

        return self._repeated(attempt)

    def _stream(self, path: str, accept: str) -> Iterator[bytes]:
        """Yields the lines of an answer as they arrive. Raises RefusedError; UnreachableError if
        the answer breaks off.
        """
        request = self._request("GET", path, accept=accept)
        try:
            with self._repeated(lambda: self._open(request)) as response:
                yield from response
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _repeated(self, attempt: Callable[[], T]) -> T:
        """Calls `attempt` until it succeeds, and returns its result. Retries a temporary refusal and a lost
        connection, but not a service that never answered. Gives up after the last of `WAITS_S`. Raises RefusedError;
        UnreachableError without an answer.
        """
        waits = iter(WAITS_S)
        while True:
            try:
                return attempt()
            except urllib.error.HTTPError as refusal:
                status, problem, wait_s = read_refusal(refusal)
                planned_s = next(waits, None)
                if planned_s is None or not (status in GATEWAY or slug(problem) in TEMPORARY):
                    raise RefusedError(explained(status, problem)) from None
                time.sleep(min(wait_s or planned_s, LONGEST_WAIT_S))
            except (OSError, http.client.HTTPException) as error:
                planned_s = next(waits, None)
                if planned_s is None or not (self._reached or _broke_off(error)):
                    raise self._unreachable(error) from None
                time.sleep(planned_s)

    def _unreachable(self, error: Exception) -> UnreachableError:
        """Returns an error that explains in words why there is no answer: the certificate, no TLS,
        or the connection.
        """
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UnreachableError(
                f"{self._url} shows a certificate that this machine does not trust ({cause.verify_message})"
            )
        if isinstance(cause, ssl.SSLError):
            return UnreachableError(
                f"what answers at {self._url} does not speak TLS; if it is alertd itself, the address begins with http://"
            )
        what = "the connection broke off" if self._reached or _broke_off(error) else "nobody answers"
        why = getattr(cause, "strerror", None) or cause
        return UnreachableError(
            f"{what} at {self._url} ({why}); is alertd running there? ALERTD_URL names another address"
        )


def _host(url: str) -> str | None:
    """Returns the host of an http or https URL; None for any other text."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:  # the port is no number, or a bracket is missing
        return None
    return parts.hostname if usable else None


def segment(text: str) -> str:
    """Returns a text as one segment of a URL path, with every special character encoded."""
    return quote(text, safe="")


def _broke_off(error: Exception) -> bool:
    """Returns whether the connection was lost after the server was reached, so that the server may have carried out the
    call. urllib raises URLError for errors before the answer.
    """
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, ConnectionResetError | BrokenPipeError)
    return True


#: Members of a problem that `explained` shows in a form of their own or leaves out. It shows all other members by name.
_SAID = frozenset({"type", "title", "status", "detail", "instance", "errors", "what_to_do", "request_id"})


def explained(status: int, problem: Mapping[str, Any]) -> str:
    """Returns the lines that explain a problem (RFC 9457) to people: title, detail, each fault with its place, what to
    do.
    """
    if not slug(problem):
        return f"the service answered {status}, which is not alertd's way; ALERTD_URL names its address"
    lines = [f"{problem.get('title')} ({slug(problem)}): {problem.get('detail')}"]
    lines += [f"  {place(fault)}: {fault.get('detail', '')}" for fault in problem.get("errors", ())]
    lines += [
        f"  {name}: {value}" for name, value in problem.items() if name not in _SAID and isinstance(value, str | int)
    ]
    if remedy := _remedy(problem):
        lines.append(f"  What to do: {remedy}")
    if status == http.HTTPStatus.UNAUTHORIZED:
        lines.append(
            "  Put your key into ALERTD_KEY. The first `alertd serve` says where the first one is; of a lost one see `alertd keys recover`."
        )
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR and problem.get("request_id"):
        lines.append(f"  Request: {problem['request_id']}")
    return "\n".join(lines)


def _remedy(problem: Mapping[str, Any]) -> str | None:
    """Returns what to do about a problem: the service's words, or for audience-changed the option to give. None if
    unknown.
    """
    if slug(problem) == "audience-changed" and "now" in problem:
        return f"Look at it again, then approve it with --people {shlex.quote(str(problem['now']))}."
    return problem.get("what_to_do")


def place(fault: Mapping[str, Any]) -> str:
    """Returns the place of a fault in words: the name of a parameter or a JSON pointer, with the line if the body was
    XML.
    """
    named = str(fault.get("parameter") or fault.get("pointer") or "the whole")
    return f"line {fault['line']}, {named}" if "line" in fault else named


def slug(problem: Mapping[str, Any]) -> str:
    """Returns the short name of a problem's type, such as `rate-limited`: the last part of its URL. "" if the JSON
    object is no problem.
    """
    return str(problem.get("type", "")).rpartition("/")[2]


def read_refusal(refusal: urllib.error.HTTPError) -> tuple[int, dict[str, Any], float | None]:
    """Reads and closes a refusal. Returns the status, the problem ({} if the body is no JSON object), and the seconds
    of Retry-After (None without).
    """
    with refusal:
        raw = refusal.read()
    try:
        problem = json.loads(raw)
    except ValueError:
        problem = None
    after = refusal.headers.get("Retry-After", "")
    return refusal.code, problem if isinstance(problem, dict) else {}, float(after) if after.isdecimal() else None
