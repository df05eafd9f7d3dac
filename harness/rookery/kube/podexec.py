"""Running a program in a pod, over a websocket with a deadline that holds.

`kubernetes.stream` connects without any time-out, and replaces a method of the shared client while it does, so two
threads cannot exec at once. The protocol is small: binary messages, the first byte of which names the channel.

https://github.com/kubernetes/enhancements/blob/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets/README.md
"""

from __future__ import annotations

import json
import shlex
import ssl
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import websocket
from kubernetes import client as kubernetes_client

from rookery.kube.errors import ApiUnavailable, ExecFailed, KubeError, refused
from rookery.kube.objects import items_of

STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255
# Version 5 is 4 with a message that closes standard input; API servers before 1.30 know 4 alone.
SUBPROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]


def run(
    configuration: kubernetes_client.Configuration,
    path: str,
    argv: Sequence[str],
    *,
    container: str | None,
    stdin: str | None,
    timeout: float,
) -> str:
    """Standard output of `argv`, run by the exec subresource at `path` within `timeout` seconds.

    Raises `ExecFailed` for a status other than 0 or an overrun, `ApiUnavailable` when the stream breaks off or cannot
    be opened for now (the container is not running, its node does not answer), `KubeError` when it is refused.
    """
    query = [("command", word) for word in argv] + [("stdout", "true"), ("stderr", "true")]
    query += [("container", container)] if container else []
    query += [("stdin", "true")] if stdin is not None else []
    url = f"{configuration.host.replace('http', 'ws', 1)}{path}?{urlencode(query)}"
    deadline = time.monotonic() + timeout
    stream = _open(configuration, url, f"exec {path}", deadline)
    received: dict[int, bytes] = defaultdict(bytes)
    try:
        if stdin is not None:
            _send_stdin(stream, stdin)
        while STATUS not in received:
            channel, data = _receive(stream, deadline)
            received[channel] += data
    except websocket.WebSocketTimeoutException as error:
        raise ExecFailed(shlex.join(argv), None, _text(received)) from error
    except (websocket.WebSocketException, OSError) as error:
        raise ApiUnavailable(f"exec {path}: the stream broke off: {error}") from error
    finally:
        stream.shutdown()
    status = _exit_status(received[STATUS])
    if status != 0:
        raise ExecFailed(shlex.join(argv), status, _text(received))
    return received[STDOUT].decode(errors="replace")


def _open(
    configuration: kubernetes_client.Configuration, url: str, request: str, deadline: float
) -> websocket.WebSocket:
    try:
        return websocket.create_connection(
            url,
            timeout=max(deadline - time.monotonic(), 0.1),
            sslopt=_tls(configuration),
            header=_credentials(configuration),
            subprotocols=SUBPROTOCOLS,
            suppress_origin=True,
            **_proxy(configuration),
        )
    except websocket.WebSocketBadStatusException as error:
        raise refused(request, error.status_code, getattr(error, "resp_body", None)) from error
    except (websocket.WebSocketException, OSError) as error:
        raise ApiUnavailable(f"{request}: {error}") from error


def _tls(configuration: kubernetes_client.Configuration) -> dict[str, Any]:
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    if configuration.verify_ssl:
        options = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert}
    if configuration.cert_file:
        options |= {"certfile": configuration.cert_file, "keyfile": configuration.key_file}
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    return options


def _credentials(configuration: kubernetes_client.Configuration) -> dict[str, str]:
    settings: Iterable[Any] = configuration.auth_settings().values()
    return {auth["key"]: auth["value"] for auth in settings if auth["in"] == "header" and auth["value"]}


def _proxy(configuration: kubernetes_client.Configuration) -> dict[str, Any]:
    if not configuration.proxy:
        # Left alone the library takes the environment's proxy, even to a loopback address; it heeds `http_no_proxy`
        # only beside a proxy of the caller's, which is then not used.
        return {"http_proxy_host": "unused", "http_proxy_port": 1, "http_no_proxy": ["*"]}
    proxy = urlsplit(configuration.proxy)
    return {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port}


def _send_stdin(stream: websocket.WebSocket, text: str) -> None:
    if stream.getsubprotocol() != SUBPROTOCOLS[0]:
        raise KubeError(
            "this API server cannot close a program's standard input", hint="--kubernetes 1.30 or later, which can"
        )
    stream.send_binary(bytes([STDIN]) + text.encode())
    stream.send_binary(bytes([CLOSE, STDIN]))


def _receive(stream: websocket.WebSocket, deadline: float) -> tuple[int, bytes]:
    left = deadline - time.monotonic()
    if left <= 0:
        raise websocket.WebSocketTimeoutException("the deadline has passed")
    stream.settimeout(left)
    message = stream.recv()
    data = message.encode() if isinstance(message, str) else message
    if not data:
        raise websocket.WebSocketConnectionClosedException("closed before the exit status was known")
    return data[0], data[1:]


def _exit_status(message: bytes) -> int:
    """The exit status in the `Status` object that ends the stream."""
    status = json.loads(message)
    if status.get("status") == "Success":
        return 0
    for cause in items_of(status, "details", "causes"):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiUnavailable(f"exec: {status.get('message') or status}", status=500)


def _text(received: dict[int, bytes]) -> str:
    return (received[STDOUT] + received[STDERR]).decode(errors="replace")
