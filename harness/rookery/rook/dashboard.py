"""The mgr's dashboard: the Service that Rook owns, one of its own that publishes it, and what its page shows.

https://rook.io/docs/rook/latest-release/Storage-Configuration/Monitoring/ceph-dashboard/
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rookery.errors import UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.kube.symptoms import log_shown
from rookery.rook.ceph_cluster import Object
from rookery.rook.deploy import Rook
from rookery.rook.manifests import OPERATOR, load
from rookery.signatures import SERVICE_RECONCILED
from rookery.waiting import Condition, NotYet, condition, minutes

if TYPE_CHECKING:
    from rookery.browser.webdriver import Browser

SERVICE = "rook-ceph-mgr-dashboard"
USER = "admin"
PASSWORD = "rook-ceph-dashboard-password"  # the Secret that Rook generates
EXAMPLE = "dashboard-loadbalancer.yaml"  # Rook's own, for a Service beside the operator's

LOGIN = 'form[name="loginForm"]'
_STATUS = '[aria-label="Status card"] i[title^="HEALTH_"]'  # the words beside the icon are "Cluster", whatever it is
_OSDS = '[aria-label="Inventory card"] li:has(a[href="#/osd"])'


class Dashboard:
    """The dashboard of a Ceph cluster, by its Services and its Secret."""

    def __init__(self, rook: Rook) -> None:
        self._rook = rook
        self._kube = rook.kube
        self._namespace = rook.spec.namespace

    @retry_while_api_unavailable()
    def service(self) -> Object:
        """Condition: the operator's own Service is there."""
        found = self._kube.get("Service", SERVICE, namespace=self._namespace)
        if found is None:
            raise NotYet(f"there is no Service {SERVICE}: is spec.dashboard.enabled set?")
        return found

    @condition("the dashboard's own Service", within=minutes(1))
    def load_balancer(self) -> Object:
        """As `service`. Rook's example of a Service of its own, which publishes the port that is served.

        The example has the port for TLS. Raises `UsageError` if the manifests of this version lack the example.
        """
        if not (self._rook.manifests_dir / EXAMPLE).is_file():
            raise UsageError(
                f"{self._rook.manifests_dir} has no {EXAMPLE}", hint="the folder deploy/examples of that Rook, whole"
            )
        (example,) = load(self._rook.manifests_dir, [EXAMPLE])
        (own,) = self.service()["spec"]["ports"]
        port = {"name": "dashboard", "port": own["port"], "targetPort": own["targetPort"], "protocol": "TCP"}
        metadata = {**example["metadata"], "namespace": self._namespace}
        return {**example, "metadata": metadata, "spec": {**example["spec"], "ports": [port]}}

    def url(self, address: str) -> str:
        """Condition: as `service`. Where the dashboard is, by that address of a Service with the same port."""
        (port,) = self.service()["spec"]["ports"]
        scheme = "https" if port["name"].startswith("https") else "http"
        return f"{scheme}://{address}:{port['port']}/"

    @condition("the dashboard's generated password", within=minutes(1))
    @retry_while_api_unavailable()
    def password(self) -> str:
        """The operator has generated the password of `USER`."""
        secret = self._kube.get("Secret", PASSWORD, namespace=self._namespace)
        if secret is None:
            raise NotYet(f"there is no Secret {PASSWORD}")
        return base64.b64decode(secret["data"]["password"]).decode()

    def edit_service(self, service_type: str) -> Object:
        """Give the operator's own Service another type; the Service as the API server has taken it."""
        return self._kube.patch("Service", SERVICE, {"spec": {"type": service_type}}, namespace=self._namespace)

    @condition(f"Service {SERVICE} of type {{service_type}}", within=minutes(5))
    def service_is(self, service_type: str) -> None:
        """The operator's own Service is of that type."""
        found = self.service()["spec"]["type"]
        if found != service_type:
            raise NotYet(f"Service {SERVICE} is of type {found}")

    @property
    def operator_saw_an_edit(self) -> Condition[str]:
        """The operator says in its log that it will undo a change of it."""
        return log_shown(self._kube, self._namespace, SERVICE_RECONCILED, labels=f"app={OPERATOR}")


@dataclass(frozen=True)
class DashboardStatus:
    """What the dashboard's first page says about the cluster."""

    health: str  # such as HEALTH_OK
    osds: int
    osds_up: int


class DashboardPage:
    """The dashboard in a browser, at that URL."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url

    @condition("the dashboard to answer", within=minutes(2))
    def open(self) -> None:
        """Something answers there."""
        self._browser.open(self._url)

    @condition("the dashboard to ask for a password", within=minutes(1))
    def asks_for_login(self) -> None:
        """The form for user and password is shown, which the page fetches code for first."""
        self._browser.text(LOGIN)

    @condition("the form to be filled in as {user}", within=minutes(1))
    def log_in(self, user: str, password: str) -> None:
        """The form could be filled in and sent."""
        self._browser.type("#username", user)
        self._browser.type("#password", password)
        self._browser.click(f'{LOGIN} [type="submit"]')

    def screenshot(self, path: Path) -> None:
        """Write what the browser shows now to that path, as a PNG."""
        self._browser.screenshot(path)

    def shown(self) -> DashboardStatus:
        """Condition: the first page is there, which is shown to nobody who is not logged in."""
        if self._browser.has(LOGIN):
            raise NotYet("it still asks for user and password")
        total, up = osds_of(self._browser.text(_OSDS))
        return DashboardStatus(self._browser.attribute(_STATUS, "title"), total, up)

    @condition("the dashboard to show {wanted}", within=minutes(2), every=1.0)
    def shows(self, wanted: DashboardStatus) -> DashboardStatus:
        """The first page says just that; it asks the mgr again every few seconds."""
        found = self.shown()
        if found != wanted:
            raise NotYet(f"it shows {found}")
        return found


def osds_of(row: str) -> tuple[int, int]:
    """How many OSDs there are, and how many are up, by the inventory's row: "3 OSDs 3" where all that are in are up,
    else "3 OSDs 2 up 3 in 1 down". Raises `NotYet` for anything else."""
    found = re.fullmatch(r"\s*(\d+)\s+OSDs?\s+(\d+)(?:\s+up)?\b.*", row, re.DOTALL)
    if found is None:
        raise NotYet(f"not a row about OSDs: {row!r}")
    return int(found[1]), int(found[2])
