"""A client for WebDriver, of the few commands that reading a page takes.

The protocol is JSON over HTTP: https://www.w3.org/TR/webdriver2/. What a page does not show *yet* is `NotYet`, so that
everything here serves in a condition: there are no waits of the browser's own, whose time-outs would say
nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from rookery.errors import InfrastructureError
from rookery.waiting import NotYet

CHROMIUM = "/usr/bin/chromium"  # where the driver runs
COMMAND_SECONDS = 60.0
LOAD_SECONDS = 30.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's reference: a constant of the specification

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it is root in its container, and the container is the sandbox
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--window-size=1400,1100",
    "--lang=en-US",
    "--no-proxy-server",
    # Nothing but the page: no look-ups of its maker's hosts.
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# What an application that builds its page while it is being read answers with; the next look finds something else.
# https://www.w3.org/TR/webdriver2/#errors
_PASSING = (
    "no such element",
    "stale element reference",
    "element not interactable",
    "element click intercepted",
    "timeout",
)


class WebDriverError(InfrastructureError):
    """The driver refused a command; `code` is the specification's name for why."""

    def __init__(self, command: str, code: str, message: str) -> None:
        super().__init__(f"{command}: {code}: {message}")
        self.code = code


class Browser:
    """One window, through the driver at `address` (URL). Use as a context manager, or call `close`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = urllib3.PoolManager(retries=False)
        self._session = ""

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Condition: the driver answers and has started a browser."""
        if self._session:
            return
        options = {"binary": CHROMIUM, "args": list(ARGUMENTS)}
        wanted = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options}
        wanted["timeouts"] = {"pageLoad": int(LOAD_SECONDS * 1000)}
        if not self._ask("GET", "/status")["ready"]:
            raise NotYet("the driver is not ready")
        self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def close(self) -> None:
        """End the browser; idempotent."""
        session, self._session = self._session, ""
        if session:
            self._ask("DELETE", f"/session/{session}")
        self._http.clear()

    def open(self, url: str) -> None:
        """Condition: the server of that page answers."""
        self._do("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        """Where it is now."""
        return self._do("GET", "/url")

    def text(self, css: str) -> str:
        """Condition: the page has an element of that CSS selector; the text that a reader sees in the first one."""
        return self._do("GET", f"/element/{self._find(css)}/text")

    def attribute(self, css: str, name: str) -> str:
        """Condition: it has one with that attribute; the attribute's value."""
        value = self._do("GET", f"/element/{self._find(css)}/attribute/{name}")
        if value is None:
            raise NotYet(f"{css} has no {name}")
        return value

    def has(self, css: str) -> bool:
        """Whether the page has such an element now."""
        return bool(self._all(css))

    def type(self, css: str, text: str) -> None:
        """Condition: the element takes input; it is emptied first, and filled by key strokes."""
        element = self._find(css)
        self._do("POST", f"/element/{element}/clear", {})
        self._do("POST", f"/element/{element}/value", {"text": text})

    def click(self, css: str) -> None:
        """Condition: the element can be clicked."""
        self._do("POST", f"/element/{self._find(css)}/click", {})

    def screenshot(self, path: Path) -> None:
        """What the window shows, as a PNG."""
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def _find(self, css: str) -> str:
        found = self._all(css)
        if not found:
            raise NotYet(f"{self.url} shows no {css}")
        return found[0][_ELEMENT]

    def _all(self, css: str) -> Sequence[Mapping[str, str]]:
        return self._do("POST", "/elements", {"using": "css selector", "value": css})

    def _do(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        if not self._session:
            raise InfrastructureError("the browser has not been started")
        return self._ask(method, f"/session/{self._session}{path}", body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The driver's answer. Raises `NotYet` for what passes, and as long as no driver answers at all."""
        # ChromeDriver serves a request only if it is for a name or an address that it knows; this one it always knows.
        headers = {"Host": "localhost", "Content-Type": "application/json; charset=utf-8"}
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._http.request(
                method, f"{self._address}{path}", body=data, headers=headers, timeout=COMMAND_SECONDS
            )
            value = json.loads(answer.data)["value"]
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NotYet(f"no driver at {self._address}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InfrastructureError(f"{method} {path}: not WebDriver: {answer.data[:200]!r}") from error
        if answer.status == 200:
            return value
        refused = WebDriverError(f"{method} {path}", value.get("error", "?"), value.get("message", ""))
        if refused.code in _PASSING or "net::ERR_" in refused.message:  # the latter: nothing answers at a URL
            raise NotYet(str(refused)) from refused
        raise refused
