"""A browser beside no cluster, for what this machine has written."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rookery.browser.container import browser_on, container_of
from rookery.cluster import network
from rookery.images import programs
from rookery.machine.docker import docker
from rookery.machine.leases import Lease
from rookery.waiting import minutes, wait_for_machine

if TYPE_CHECKING:
    from rookery.browser.webdriver import Browser

SHOWN = minutes(1)
PAGE_THERE = "/tmp/index.html"  # in the browser's container


@dataclass(frozen=True)
class BrowserAlone:
    """A browser, and the name of the container that it runs in."""

    browser: Browser
    container: str

    def show(self, page: Path) -> None:
        """Open a file of this machine, which is all that the browser gets of it. Raises `DeadlineExceeded`."""
        docker("cp", str(page), f"{self.container}:{PAGE_THERE}")
        wait_for_machine(lambda: self.browser.open(f"file://{PAGE_THERE}"), what="the page", within=SHOWN)


@contextmanager
def browser_alone() -> Iterator[BrowserAlone]:
    """While it lasts, this machine's engine runs a browser on a network of its own.

    Its image is built where it is not here. Raises `RookeryError` where there can be none.
    """
    image = programs.chromium()
    name = f"browser-{secrets.token_hex(4)}"  # others may look at pages beside this one
    lease = Lease.acquire(name)
    try:
        network.create(f"rookery-{name}", lease)
        with browser_on(f"rookery-{name}", lease, image=image) as browser:
            yield BrowserAlone(browser, container_of(f"rookery-{name}"))
    finally:
        lease.release()
