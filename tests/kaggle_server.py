"""A server that speaks Kaggle's protocol on the loopback, and misbehaves where a test says so.

It is the proxy of the client's process, so that the real client talks to it under the names that it knows:
`localhost` for questions, `storage.test` for archives and uploads, which must never see credentials.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "KGAT_4f1c0ffee2known1secret0token9"
USERNAME, KEY = "somebody", "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"
STORAGE = "storage.test"
DATE = "2026-11-25T04:05:06.1234567Z"


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    name: str
    host: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body or b"{}")
        return value


@dataclass
class State:
    """What Kaggle has, and what came in."""

    archive: bytes = b""
    etag: str = '"one"'
    modified: str = "Tue, 24 Nov 2026 10:00:00 GMT"
    files: list[str] = field(default_factory=list)
    left: int = 5
    counted: int = 1
    limited_by_total: bool = False
    pending_looks: int = 0
    """Times that a submission is listed as PENDING before its outcome."""
    outcome: dict[str, Any] = field(
        default_factory=lambda: {"status": "COMPLETE", "publicScore": "0.04321", "privateScore": "0.05432"}
    )
    submissions: list[dict[str, Any]] = field(default_factory=list)
    """Newest first."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    upload_name: str = ""
    seen: list[Seen] = field(default_factory=list)
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    """Name of a request -> what happens instead, one by one."""
    crashes: list[str] = field(default_factory=list)
    """The server's own mistakes."""
    released: threading.Event = field(default_factory=threading.Event)
    """Set when nobody needs to hang any longer."""

    def will(self, name: str, *faults: Fault) -> None:
        """Let the next requests of a name fail so."""
        self.faults[name].extend(faults)

    def count(self, name: str) -> int:
        return sum(seen.name == name for seen in self.seen)

    def named(self, name: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.name == name]


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    server: Server

    @property
    def state(self) -> State:
        return self.server.state

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = urlsplit(self.path)
        self.name = "rest" if "Range" in self.headers else target.path.rpartition("/")[2]
        self.state.seen.append(Seen(self.name, target.netloc, dict(self.headers), self.body))
        waiting = self.state.faults[self.name]
        (waiting.popleft() if waiting else normal)(self)

    def json(self, value: dict[str, Any], code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.bytes(json.dumps(value).encode(), "application/json", code, headers)

    def bytes(self, body: bytes, kind: str, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.head(code, {"Content-Type": kind, "Content-Length": str(len(body))} | (headers or {}))
        self.wfile.write(body)

    def head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def archive(self, until: int | None = None, **headers: str) -> None:
        """Send the archive, or the range of it that was asked for, as far as the byte `until`."""
        state, start = self.state, 0
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range", state.etag) in (state.etag, state.modified):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        size = len(state.archive)
        if start >= size and asked:
            self.head(416, {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
            return
        described = {
            "Content-Type": "application/zip",
            "Content-Length": str(size - start),
            "Accept-Ranges": "bytes",
            "ETag": state.etag,
            "Last-Modified": state.modified,
        }
        described |= {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        described |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.head(206 if start else 200, {name: value for name, value in described.items() if value})
        self.wfile.write(state.archive[start : size if until is None else max(until, start)])

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


Fault = Callable[[Exchange], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 50

    def __init__(self, state: State) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.state = state

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exception()
        if not isinstance(error, ConnectionError):  # a client that has had enough
            self.state.crashes.append(repr(error))


@contextmanager
def serving(state: State) -> Iterator[str]:
    """Serve in the block, at the address yielded."""
    server = Server(state)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert not state.crashes


def environment(address: str) -> dict[str, str]:
    """Return the variables that lead the real client, with a token, to the server at an address."""
    return {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_API_TOKEN": TOKEN,
        "http_proxy": address,
        "no_proxy": "",
        "NO_PROXY": "",
    }


def normal(exchange: Exchange) -> None:
    """Answer as Kaggle does."""
    if exchange.name in ("archive.zip", "rest"):
        exchange.archive()
    elif exchange.name == "upload":
        exchange.state.uploads["uploaded"] = exchange.body
        exchange.head(201, {"Content-Length": "0"})
    elif exchange.name == "GenerateAccessToken":
        exchange.json({"token": TOKEN, "expiresIn": 43200})
    elif not _known(exchange.headers.get("Authorization", "")):
        exchange.json({"code": 401, "message": "Unauthenticated"}, 401)
    else:
        _ANSWERS[exchange.name](exchange, json.loads(exchange.body))


def _known(authorization: str) -> bool:
    basic = base64.b64encode(f"{USERNAME}:{KEY}".encode()).decode()
    return authorization in (f"Bearer {TOKEN}", f"Basic {basic}")


def _list_files(exchange: Exchange, _: dict[str, Any]) -> None:
    files = [{"name": name, "totalBytes": 1, "creationDate": DATE} for name in exchange.state.files]
    exchange.json({"files": files, "nextPageToken": ""})


def _download(exchange: Exchange, _: dict[str, Any]) -> None:
    exchange.head(302, {"Location": f"http://{STORAGE}/archive.zip", "Content-Length": "0"})


def _start_upload(exchange: Exchange, asked: dict[str, Any]) -> None:
    exchange.state.upload_name = asked["fileName"]
    exchange.json({"token": "uploaded", "createUrl": f"http://{STORAGE}/upload"})


def _create(exchange: Exchange, asked: dict[str, Any]) -> None:
    exchange.json({"message": "Successfully submitted", "ref": submit(exchange.state, asked)})


def submit(state: State, asked: dict[str, Any]) -> int:
    """Take a submission in."""
    assert asked.get("blobFileTokens") in state.uploads
    reference = 1001 + len(state.submissions)
    row = {"ref": reference, "date": DATE, "fileName": state.upload_name, "status": "PENDING"}
    state.submissions.insert(0, row | {"description": asked.get("submissionDescription", "")})
    return reference


def _list_submissions(exchange: Exchange, asked: dict[str, Any]) -> None:
    state = exchange.state
    page, size = asked.get("page", 1), min(asked.get("pageSize", 20), 20)  # it gives fewer than one may ask for
    newest = state.submissions[0] if state.submissions else {}
    if newest.get("status") == "PENDING":
        if state.pending_looks == 0:
            newest |= state.outcome
        state.pending_looks = max(state.pending_looks - 1, 0)
    exchange.json({"submissions": state.submissions[(page - 1) * size : page * size], "nextPageToken": ""})


def _limits(exchange: Exchange, _: dict[str, Any]) -> None:
    state = exchange.state
    counted = {"numToday": state.counted, "numTotal": state.counted, "numAllowedNow": state.left}
    exchange.json(counted | {"limitedByTotal": state.limited_by_total})


_ANSWERS: dict[str, Callable[[Exchange, dict[str, Any]], None]] = {
    "ListDataFiles": _list_files,
    "DownloadDataFiles": _download,
    "StartSubmissionUpload": _start_upload,
    "CreateSubmission": _create,
    "ListSubmissions": _list_submissions,
    "GetSubmissionLimits": _limits,
}


# faults


def status(code: int, message: str = "", retry_after: str = "") -> Fault:
    """Answer with a code, as Kaggle words it."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return lambda exchange: exchange.json({"code": code, "message": message}, code, headers)


def page(code: int = 200) -> Fault:
    """Answer with a web page."""
    return lambda exchange: exchange.bytes(b"<!DOCTYPE html><title>Log in</title>", "text/html; charset=utf-8", code)


def hang(exchange: Exchange) -> None:
    """Answer nothing."""
    exchange.state.released.wait(30)


def cut(until: int) -> Fault:
    """Send the archive as far as a byte, and end."""
    return lambda exchange: exchange.archive(until)


def stall(until: int) -> Fault:
    """Send the archive as far as a byte, and then nothing more."""

    def fault(exchange: Exchange) -> None:
        exchange.archive(until)
        exchange.wfile.flush()
        hang(exchange)

    return fault


def replaced(archive: bytes, etag: str, then: Fault = normal) -> Fault:
    """Have another archive from now on."""

    def fault(exchange: Exchange) -> None:
        exchange.state.archive, exchange.state.etag = archive, etag
        then(exchange)

    return fault


def arrives_unheard(exchange: Exchange) -> None:
    """Take the submission in, and end without an answer."""
    submit(exchange.state, json.loads(exchange.body))
    with suppress(OSError):
        exchange.connection.shutdown(2)


def cut_answer(exchange: Exchange) -> None:
    """Promise an answer, and end in the middle of it."""
    exchange.head(200, {"Content-Type": "application/json", "Content-Length": "100"})
    exchange.wfile.write(b'{"submissions": [')


def arrives_half_heard(exchange: Exchange) -> None:
    """Take the submission in, and end in the middle of the answer."""
    submit(exchange.state, json.loads(exchange.body))
    cut_answer(exchange)


def arrives_in_trouble(exchange: Exchange) -> None:
    """Take the submission in, and answer as what stands before Kaggle does when Kaggle is late."""
    submit(exchange.state, json.loads(exchange.body))
    exchange.bytes(b"A timeout occurred", "text/plain", 524)


def short_range(count: int) -> Fault:
    """Send fewer bytes than were asked for, and say so."""

    def fault(exchange: Exchange) -> None:
        archive = exchange.state.archive
        start = int(exchange.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        some = archive[start : start + count]
        described = {"Content-Range": f"bytes {start}-{start + len(some) - 1}/{len(archive)}"}
        described |= {"ETag": exchange.state.etag, "Last-Modified": exchange.state.modified}
        exchange.bytes(some, "application/zip", 206, described)

    return fault


def arrives_unnumbered(exchange: Exchange) -> None:
    """Take the submission in, and answer without its reference."""
    submit(exchange.state, json.loads(exchange.body))
    exchange.json({"message": "Successfully submitted"})


def arrives_unreadably(exchange: Exchange) -> None:
    """Take the submission in, and answer with a web page."""
    submit(exchange.state, json.loads(exchange.body))
    page()(exchange)
