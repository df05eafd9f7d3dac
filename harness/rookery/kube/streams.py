"""What the API server goes on sending, such as a watch or a log that is followed: many of them by one thread.

`urllib3` waits for each in a thread of its own. HTTP/1.0 is asked for, so that a body is nothing but the lines that
come: no chunks, and the end of the connection is its end (https://www.rfc-editor.org/rfc/rfc9112#section-6.3).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from kubernetes import client as kubernetes_client

from rookery.kube.errors import ApiUnavailable, refused

CONNECT_SECONDS = 2.0
READ_BYTES = 256 * 1024  # bytes of one read
LONGEST_LINE = 4 * 2**20  # bytes; what is longer is left out


class Stream:
    """One answer that goes on; to be read when its socket (`fileno`) is ready, and closed by whoever has it."""

    def __init__(
        self, configuration: kubernetes_client.Configuration, path: str, query: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Ask for it. Raises `ApiUnavailable` if the server cannot be connected to within some seconds."""
        self.request = f"GET {path}"
        self._rest, self._status = b"", 0
        target = urlsplit(configuration.host)
        lines = [f"{self.request}?{urlencode(list(query))} HTTP/1.0", f"Host: {target.netloc}", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in _authorization(configuration)]
        try:
            self._socket = _connected(configuration, target.hostname or "", target.port or 443, target.scheme)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ApiUnavailable(f"{self.request}: {error}") from error
        try:
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
            self._socket.setblocking(False)
        except OSError as error:
            self.close()
            raise ApiUnavailable(f"{self.request}: {error}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def lines(self) -> list[bytes]:
        """The whole lines that have come since it was asked last; does not wait.

        Raises `ApiUnavailable` once there will be no more of them, `KubeError` for what the server refuses.
        """
        came, ended = self._received()
        self._rest += came
        if not self._status and not self._past_headers() and not ended:
            return []
        *found, self._rest = self._rest.split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
        if found or not ended:
            return found
        raise ApiUnavailable(f"{self.request}: ended")

    def _received(self) -> tuple[bytes, bool]:
        """What there is, and whether that was all."""
        parts = []
        try:
            while part := self._socket.recv(READ_BYTES):
                parts.append(part)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(parts), False
        except OSError as error:
            if not parts:
                raise ApiUnavailable(f"{self.request}: {error}") from error
        return b"".join(parts), True

    def _past_headers(self) -> bool:
        head, end, body = self._rest.partition(b"\r\n\r\n")
        if not end:
            return False
        words = head.split(None, 2)
        self._status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 599
        self._rest = body
        if self._status != 200:
            raise refused(self.request, self._status, body.decode(errors="replace"))
        return True


def _authorization(configuration: kubernetes_client.Configuration) -> list[tuple[str, str]]:
    token = configuration.get_api_key_with_prefix("authorization")
    return [("Authorization", token)] if token else []


def _connected(configuration: kubernetes_client.Configuration, host: str, port: int, scheme: str) -> socket.socket:
    plain = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
    if scheme == "http":
        return plain
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if not configuration.verify_ssl:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
