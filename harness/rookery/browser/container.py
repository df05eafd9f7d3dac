"""The container that the browser runs in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError
from rookery.machine.docker import docker, docker_output
from rookery.machine.leases import Lease
from rookery.waiting import NotYet, minutes, wait_for_machine

if TYPE_CHECKING:
    from rookery.browser.webdriver import Browser

PORT = 9515
STARTED = minutes(1)
SHARED_MEMORY = "256m"  # docker's 64 MiB are little for a browser
_NOT_STARTED = "its log says why; is there memory for it? rookery doctor"


@contextmanager
def browser_on(network: str, lease: Lease, *, image: str) -> Iterator[Browser]:
    """While it lasts, a browser runs on that docker network: beside the nodes, and no part of the cluster.

    The container is recorded in the lease. Raises `InfrastructureError` with its log if the browser does not start,
    `UsageError` without selenium.
    """
    try:
        from rookery.browser.webdriver import Browser
    except ModuleNotFoundError as error:
        raise UsageError("a browser needs selenium", hint="pip install 'pytest-rookery[browser]'") from error
    name = container_of(network)
    lease.add("container", name)
    docker(
        *("run", "--detach", "--name", name, "--label", lease.label, "--network", network),
        *("--shm-size", SHARED_MEMORY, image),
    )
    try:
        browser = Browser(f"http://{_address(name, network)}:{PORT}")
        try:
            wait_for_machine(lambda: _start(browser, name), what="a browser", within=STARTED)
        except (DeadlineExceeded, InfrastructureError) as error:
            raise InfrastructureError(
                f"the browser did not start: {error.message}\n{_log(name)}",
                hint=_NOT_STARTED,
            ) from error
        try:
            yield browser
        finally:
            with suppress(NotYet, InfrastructureError):  # it goes with its container
                browser.close()
    finally:
        lease.remove("container", name)


def container_of(network: str) -> str:
    """The name of the container that the browser on that network runs in."""
    return f"{network}-browser"


def _start(browser: Browser, name: str) -> None:
    if docker_output("inspect", "-f", "{{.State.Running}}", name) != "true":
        raise InfrastructureError(f"container {name} has ended", hint=_NOT_STARTED)
    browser.start()


def _address(name: str, network: str) -> str:
    networks = json.loads(docker_output("inspect", "-f", "{{json .NetworkSettings.Networks}}", name))
    address = networks[network]["IPAddress"]
    if not address:
        raise InfrastructureError(
            f"container {name} has no address: it ended at once\n{_log(name)}",
            hint=_NOT_STARTED,
        )
    return address


def _log(name: str) -> str:
    done = docker("logs", "--tail", "30", name, check=False)
    return (done.stdout + done.stderr).strip()
