"""`python3 node_agent.py PORT`: what a kubelet or a sidecar would call on this node's sockets, asked for over HTTP.

Runs in a pod of the driver's image, which has gRPC and the stubs of csi.proto; it is not part of the driver. A process
of Python for each call would take longer than the call, so this one stays. It needs the kubelet's folder, with the
mounts that come and go in it (mountPropagation HostToContainer), and, to open the devices among them, privileges. So it
does nothing for whoever lacks the token that its environment has as NODE_AGENT_TOKEN (RFC 6750): every pod reaches it.

Requests are JSON objects, answered by {"code": ..., "message": ..., "response": {...}}, where the code is gRPC's:

- {"do": "call", "socket", "service": "Node", "method": "NodeStageVolume", "request": {...}, "seconds"}
- {"do": "write", "target", "content", "bytes"}: write a file of pseudo-random bytes, which follow from `content`; where
  the target is a block device, to its start
- {"do": "read", "target", "bytes"}: {"sha256"} of the file, or of so many bytes of the device, read past the page
  cache; "" if there is no file, or if nothing was ever written there
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import stat
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import csi_pb2
import grpc
from google.protobuf import json_format

FILE = "content"

Json = dict[str, Any]
"""A request or an answer, as JSON has it."""


def call(socket: str, service: str, method: str, request: Json, seconds: float) -> Json:
    described = csi_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    wanted, given = (getattr(csi_pb2, it.name) for it in (described.input_type, described.output_type))
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        answer = channel.unary_unary(
            f"/csi.v1.{service}/{method}",
            request_serializer=wanted.SerializeToString,
            response_deserializer=given.FromString,
        )
        try:
            response = answer(json_format.ParseDict(request, wanted()), timeout=seconds)
        except grpc.RpcError as error:
            return {"code": error.code().name, "message": error.details()}
    return {"code": "OK", "response": json_format.MessageToDict(response, preserving_proto_field_name=True)}


def write(target: str, content: str, bytes: int) -> Json:
    if not os.path.ismount(target):
        return {"code": "FAILED_PRECONDITION", "message": f"nothing is mounted at {target}"}
    device = is_device(target)
    with open(target if device else Path(target) / FILE, "r+b" if device else "wb") as file:
        file.write(random.Random(content).randbytes(bytes))
        file.flush()
        os.fsync(file.fileno())
    if not device:
        directory = os.open(target, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    return {"code": "OK"}


def read(target: str, bytes: int) -> Json:
    if not os.path.ismount(target):
        return {"code": "FAILED_PRECONDITION", "message": f"nothing is mounted at {target}"}
    device = is_device(target)
    try:
        with open(target if device else Path(target) / FILE, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            found = file.read(bytes) if device else file.read()
    except FileNotFoundError:
        return {"code": "OK", "response": {"sha256": ""}}
    unwritten = device and not found.strip(b"\0")
    return {"code": "OK", "response": {"sha256": "" if unwritten else hashlib.sha256(found).hexdigest()}}


def is_device(target: str) -> bool:
    return stat.S_ISBLK(os.stat(target).st_mode)


DOES: dict[str, Callable[..., Json]] = {"call": call, "write": write, "read": read}


class Handler(BaseHTTPRequestHandler):
    token: str

    def do_GET(self) -> None:
        self.answer({"code": "OK"})

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            self.send_error(401)
            return
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer = DOES[wanted.pop("do")](**wanted)
        except OSError as error:  # of the filesystem on the volume
            answer = {"code": "DATA_LOSS", "message": str(error)}
        self.answer(answer)

    def answer(self, answer: Json) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # requests carry secrets
        pass


if __name__ == "__main__":
    Handler.token = os.environ["NODE_AGENT_TOKEN"]
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
