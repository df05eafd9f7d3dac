"""A small API server on loopback, for the real client."""

import base64
import hashlib
import json
import re
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CORE = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "events": "Event",
    "nodes": "Node",
    "persistentvolumes": "PersistentVolume",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}
GROUPS = {
    "apps/v1": {"deployments": "Deployment"},
    "events.k8s.io/v1": {"events": "Event"},
    "storage.k8s.io/v1": {"volumeattachments": "VolumeAttachment"},
    "coordination.k8s.io/v1": {"leases": "Lease"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
}
NOT_LISTED = {"tokenreviews"}
CLUSTER_SCOPED = {"nodes", "persistentvolumes", "volumeattachments", "customresourcedefinitions"}


class Api(ThreadingHTTPServer):
    """Stores what is applied by its path. A CRD named `<plural>.<group>` is served from the second discovery on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, dict] = {}
        self.requests: list[tuple[str, str, dict, str]] = []
        self.accepted: list[str] = []  # what each request would take as its answer
        self.logs: dict[str, str] = {}
        self.failures: list[int] = []  # answers of these statuses come first
        self.custom: dict[str, dict[str, str]] = {}
        self.discoveries = 0
        self.exec = lambda send: None
        self.changes: list[list[dict]] = []  # what a watch is told, one list at a time

    def groups(self, root: str) -> list[dict]:
        if root == "/api":
            return [{"metadata": {}, "versions": [{"version": "v1", "resources": resources(CORE)}]}]
        self.discoveries += 1
        to_come = self.custom if self.discoveries == 1 else {}
        return [
            {
                "metadata": {"name": name.partition("/")[0]},
                "versions": [
                    {"version": name.partition("/")[2], "resources": None if name in to_come else resources(kinds)}
                ],
            }
            for name, kinds in {**GROUPS, **self.custom}.items()
        ]


def resources(kinds: dict[str, str]) -> list[dict]:
    return [
        {
            "resource": plural,
            "responseKind": {"kind": kind},
            "scope": "Cluster" if plural in CLUSTER_SCOPED else "Namespaced",
            "verbs": ["create"] if plural in NOT_LISTED else ["create", "get", "list"],
        }
        for plural, kind in kinds.items()
    ]


class Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args) -> None: ...

    def do_GET(self) -> None:
        path, query = self._record()
        if self._fails():
            return
        if path in ("/api", "/apis"):
            self._answer(200, {"items": self.server.groups(path)})
        elif "watch" in query:
            self._stream()
        elif path.endswith("/exec"):
            self._upgrade()
        elif path == "/readyz":
            self._send(200, b"ok")
        elif path.endswith("/log"):
            key = f"{path}?{query.get('container', [''])[0]}{query.get('previous', [''])[0]}"
            self._send(200, self.server.logs[key].encode())
        elif path in self.server.objects:
            self._answer(200, self.server.objects[path])
        elif re.search(
            r"/(pods|configmaps|events|nodes|leases|deployments|persistentvolume\w*|volumeattach\w+)$", path
        ):
            below = re.compile(re.escape(path).replace("/v1/", r"/v1(/namespaces/[^/]+)?/", 1) + "/[^/]+$")
            self._answer(200, {"items": [found for key, found in self.server.objects.items() if below.match(key)]})
        else:
            self._not_found(path)

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path, _query = self._record(body)
        if self._fails():
            return
        if "/namespaces/absent/" in path:
            self._answer(404, {"message": 'namespaces "absent" not found', "details": {"kind": "namespaces"}})
            return
        self.server.objects[path] = {**self.server.objects.get(path, {}), **json.loads(body)}
        self._answer(200, self.server.objects[path])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._record(body)
        if not self._fails():
            self._answer(201, json.loads(body))

    def do_DELETE(self) -> None:
        path, _query = self._record()
        if self.server.objects.pop(path, None) is None:
            self._not_found(path)
        else:
            self._answer(200, {"status": "Success"})

    def _record(self, body: str = "") -> tuple[str, dict]:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.server.accepted.append(self.headers.get("Accept", ""))
        self.server.requests.append((f"{self.command} {url.path}", self.headers.get("Content-Type", ""), query, body))
        return url.path, query

    def _fails(self) -> bool:
        if not self.server.failures:
            return False
        self._answer(self.server.failures.pop(0), {"message": "as told"})
        return True

    def _not_found(self, path: str) -> None:
        kind = path.split("/")[-2]
        self._answer(404, {"message": f"{kind} not found", "details": {"kind": kind}})

    def _answer(self, status: int, body: dict) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Changes as chunks, each torn in the middle of a line, until there is nothing left to tell."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for changes in self.server.changes:
            text = "".join(json.dumps(change) + "\n" for change in changes).encode()
            for part in (text[:7], text[7:]):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _upgrade(self) -> None:
        """RFC 6455, as little of it as an exec needs."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"].split(",")[0].strip())
        self.end_headers()
        self.server.exec(self)
        self.close_connection = True

    def message(self, channel: int, data: bytes) -> None:
        payload = bytes([channel]) + data
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
        self.wfile.write(b"\x82" + size + payload)
        self.wfile.flush()

    def received(self) -> bytes:
        length = self.rfile.read(2)[1] & 0x7F
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(length)))
