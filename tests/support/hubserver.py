"""A Hugging Face hub on loopback: what huggingface_hub needs of one, with switches for what can go wrong."""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".gguf", ".bin")


def git_blob_id(content: bytes) -> str:
    """Hash as git does, which is the ETag of a small file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """A repository with one commit; `main` and the tag `v1` point to it."""

    files: dict[str, bytes]
    gated: bool = False  # listed for all, files only for `token`
    private: bool = False  # as if it were not there without `token`
    token: str = "secret"

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + content)
        return digest.hexdigest()

    def has_revision(self, revision: str) -> bool:
        return revision in ("main", "v1", self.commit)


@dataclass
class Request:
    """One request as the server saw it."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Hub:
    """The server's repositories, switches and log."""

    repos: dict[str, Repo]
    drop_after: dict[str, int] = field(default_factory=dict)  # path in a repository -> bytes sent, then closed; once
    reset_after: dict[str, int] = field(default_factory=dict)  # the same, but the connection is reset; once
    fail_status: int | None = None  # answer everything with this
    corrupt: set[str] = field(default_factory=set)  # send other bytes of the same length
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> set[str]:
        """Return the paths of the repositories' files that were requested with GET."""
        return {
            request.path.split("/resolve/", 1)[1].split("/", 1)[1]
            for request in self.requests
            if request.method == "GET" and "/resolve/" in request.path
        }

    def ranges(self) -> list[str]:
        """Return the requested ranges, in order."""
        return [request.range for request in self.requests if request.method == "GET" and request.range]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass

    def _answer(self, *, with_body: bool) -> None:
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(Request(self.command, path, self.headers.get("Range"), self.headers.get("Authorization")))
        if hub.fail_status:
            self._refuse(hub.fail_status, "", "out of order")
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"), with_body)
        elif "/resolve/" in path:
            self._file(path, with_body)
        else:
            self._refuse(404, "", "no such page")

    def _repo(self, name: str) -> Repo | None:
        repo = self.server.hub.repos.get(name)
        if repo is None or (repo.private and not self._allowed(repo)):
            self._refuse(401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def _allowed(self, repo: Repo) -> bool:
        return self.headers.get("Authorization") == f"Bearer {repo.token}"

    def _api(self, rest: str, with_body: bool) -> None:
        org, name, what, revision = (*rest.split("/"), "", "", "")[:4]
        repo = self._repo(f"{org}/{name}")
        if repo is None:
            return
        if not repo.has_revision(revision):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif what == "revision":
            self._json({"id": f"{org}/{name}", "sha": repo.commit, "gated": repo.gated, "siblings": []})
        else:
            self._json([self._entry(path, content) for path, content in repo.files.items()])

    def _entry(self, path: str, content: bytes) -> dict[str, object]:
        entry: dict[str, object] = {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": git_blob_id(content),
        }
        if path.endswith(LFS_SUFFIXES):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def _file(self, path: str, with_body: bool) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        repo = self._repo(name)
        if repo is None:
            return
        if repo.gated and not self._allowed(repo):
            self._refuse(401, "GatedRepo", "Access to model is restricted")
        elif not repo.has_revision(revision):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif file not in repo.files:
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            self._send(repo, file, with_body)

    def _send(self, repo: Repo, file: str, with_body: bool) -> None:
        hub = self.server.hub
        content = repo.files[file]
        etag = hashlib.sha256(content).hexdigest() if file.endswith(LFS_SUFFIXES) else git_blob_id(content)
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        body = content[start:]
        if file in hub.corrupt:
            body = bytes(len(body))
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", str(len(body)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        if (limit := hub.drop_after.pop(file, None)) is not None:
            self.wfile.write(body[:limit])
            self.close_connection = True
        elif (limit := hub.reset_after.pop(file, None)) is not None:
            self.wfile.write(body[:limit])
            self.wfile.flush()
            # Lingering for no time makes the system send a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients that disconnect are part of the tests."""


@contextmanager
def running_hub(repos: dict[str, Repo]) -> Iterator[Hub]:
    """Serve repositories on a free port while the block runs."""
    hub = Hub(repos)
    server = _Server(hub)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
