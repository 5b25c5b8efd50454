"""A small server for the part of the Hub's protocol that downloads use."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
_API = "/api/models/acme/tiny"


class HubServer:
    """Serves the model acme/tiny: `files` by path, safetensors as LFS.

    Attributes:
        sent: Content that is sent in place of the true one, by path.
        stall_after: A download of safetensors stops after so many bytes, until released.
        stalled: Set when it has.
        downloads: The files asked for, in order.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.sent: dict[str, bytes] = {}
        self.stall_after: int | None = None
        self.stalled, self.released = threading.Event(), threading.Event()
        self.downloads: list[str] = []
        self.gated = False
        handler = type("BoundHandler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def entry(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        header = b"blob %d\0" % len(content)
        blob = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"size": len(content), "oid": blob, "blobId": blob}
        if path.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            size = len(content)
            entry["lfs"] = {"sha256": digest, "oid": digest, "size": size, "pointerSize": 134}
        return entry

    def document(self, path: str) -> object:
        if path.startswith(f"{_API}/tree/"):
            return [{"type": "file", "path": name, **self.entry(name)} for name in self.files]
        if path not in {_API, *(f"{_API}/revision/{name}" for name in ("main", "v1", SHA))}:
            return None
        siblings = [{"rfilename": name, **self.entry(name)} for name in self.files]
        card = {"license": "mit"}
        return {"id": "acme/tiny", "sha": SHA, "siblings": siblings, "cardData": card}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if not path.startswith("/api/"):
            self._resolve()
        elif self.hub.gated:
            self._refuse(403, "GatedRepo")
        elif (document := self.hub.document(path)) is None:
            self._refuse(404, "RevisionNotFound" if path.startswith(_API) else "RepoNotFound")
        else:
            body = json.dumps(document).encode()
            self._head(200, {"Content-Type": "application/json", "Content-Length": len(body)})
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._head(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": 0})

    def _head(self, status: int, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _resolve(self) -> None:
        name = urlsplit(self.path).path.partition(f"/acme/tiny/resolve/{SHA}/")[2]
        entry, content = self.hub.entry(name), self.hub.sent.get(name, self.hub.files[name])
        digest = entry["lfs"]["sha256"] if "lfs" in entry else entry["oid"]
        self._head(
            200, {"ETag": f'"{digest}"', "X-Repo-Commit": SHA, "Content-Length": len(content)}
        )
        if self.command == "HEAD":
            return
        self.hub.downloads.append(name)
        if self.hub.stall_after is None or not name.endswith(".safetensors"):
            self.wfile.write(content)
            return
        self.wfile.write(content[: self.hub.stall_after])
        self.wfile.flush()
        self.hub.stalled.set()
        self.hub.released.wait(60)
