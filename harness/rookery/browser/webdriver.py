"""A window of a browser, as conditions: what reading a page takes, of selenium.

What a page does not show *yet* is `NotYet`, so that everything here serves in a condition: selenium's
own waits are not used, as their time-outs say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from selenium.common import exceptions
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.common.by import By
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.file_detector import UselessFileDetector
from selenium.webdriver.remote.webelement import WebElement

from rookery.errors import InfrastructureError
from rookery.waiting import NotYet

CHROMIUM = "/usr/bin/chromium"  # where the driver runs
COMMAND_SECONDS = 60
LOAD_SECONDS = 30
BARS = 300  # pixels of a window's height that are no page, and then some

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
_PASSING = (
    exceptions.NoSuchElementException,
    exceptions.StaleElementReferenceException,
    exceptions.ElementNotInteractableException,
    exceptions.ElementClickInterceptedException,
    exceptions.TimeoutException,
)


class Browser:
    """One window, through the driver at `address` (URL). Use as a context manager, or call `close`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._driver: Remote | None = None

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Condition: the driver answers and has started a browser."""
        if self._driver:
            return
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        options.accept_insecure_certs = True
        options.timeouts = {"pageLoad": LOAD_SECONDS * 1000, "script": COMMAND_SECONDS * 1000}
        for argument in ARGUMENTS:
            options.add_argument(argument)
        connection = ClientConfig(
            self._address,
            proxy=Proxy({"proxyType": ProxyType.DIRECT}),  # a container on this machine
            timeout=COMMAND_SECONDS,
            # ChromeDriver serves a request only if it is for a name or an address that it knows; this one it always
            # knows.
            extra_headers={"Host": "localhost"},
            init_args_for_pool_manager={"init_args_for_pool_manager": {"retries": False}},
        )
        with self._asking():
            self._driver = Remote(self._address, options=options, client_config=connection)
        self._driver.file_detector = UselessFileDetector()  # what is typed is text, also if a file is called so

    def close(self) -> None:
        """End the browser; idempotent."""
        driver, self._driver = self._driver, None
        if driver:
            with self._asking():
                driver.quit()

    def open(self, url: str) -> None:
        """Condition: the server of that page answers."""
        with self._asking():
            self._started.get(url)

    @property
    def url(self) -> str:
        """Where it is now."""
        with self._asking():
            return self._started.current_url

    def text(self, css: str) -> str:
        """Condition: the page has an element of that CSS selector; the text that a reader sees in the first one."""
        with self._asking():
            return self._find(css).text

    def attribute(self, css: str, name: str) -> str:
        """Condition: it has one with that attribute; the attribute's value."""
        with self._asking():
            value = self._find(css).get_dom_attribute(name)
        if value is None:
            raise NotYet(f"{css} has no {name}")
        return value

    def has(self, css: str) -> bool:
        """Whether the page has such an element now."""
        with self._asking():
            return bool(self._started.find_elements(By.CSS_SELECTOR, css))

    def type(self, css: str, text: str) -> None:
        """Condition: the element takes input; it is emptied first, and filled by key strokes."""
        with self._asking():
            element = self._find(css)
            element.clear()
            element.send_keys(text)

    def click(self, css: str) -> None:
        """Condition: the element can be clicked."""
        with self._asking():
            self._find(css).click()

    def ask(self, script: str) -> Any:
        """What a script in the page answers, by calling its only argument; JSON-able. It may take a minute."""
        with self._asking():
            return self._started.execute_async_script(script)

    def screenshot(self, path: Path, css: str = "") -> None:
        """What the window shows, as a PNG; of an element the whole, for which the window grows as far as it has to.

        Raises `NotYet` without such an element.
        """
        with self._asking():
            if not css:
                path.write_bytes(self._started.get_screenshot_as_png())
                return
            element = self._find(css)
            size = self._started.get_window_size()
            self._started.set_window_size(size["width"], max(size["height"], element.size["height"] + BARS))
            path.write_bytes(element.screenshot_as_png)

    def _find(self, css: str) -> WebElement:
        found = self._started.find_elements(By.CSS_SELECTOR, css)
        if not found:
            raise NotYet(f"{self.url} shows no {css}")
        return found[0]

    @property
    def _started(self) -> Remote:
        if self._driver is None:
            raise InfrastructureError(
                "the browser has not been started", hint="browser.start() comes first; `browser_on` waits for it"
            )
        return self._driver

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Raises `NotYet` for what passes, and as long as no driver answers at all; `InfrastructureError` for what the
        driver refuses."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NotYet(f"no driver at {self._address}: {error}") from error
        except exceptions.WebDriverException as error:
            message = f"{type(error).__name__}: {error.msg}"
            if isinstance(error, _PASSING) or "net::ERR_" in message:  # the latter: nothing answers at a URL
                raise NotYet(message) from error
            raise InfrastructureError(
                f"the browser's driver: {message}",
                hint="is that browser of the driver's version? rookery images ensure",
            ) from error
