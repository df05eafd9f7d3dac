"""Which nodes there are, by the Kubernetes API: a CSINode lists the drivers that its kubelet has registered.

One GET with the standard library instead of a client package in the image.
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-node-v1/
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .errors import Unavailable

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT = 10.0  # seconds


class RegisteredNodes:
    """The nodes on which the kubelet has registered the driver of that name."""

    def __init__(self, driver_name: str, account: Path = _ACCOUNT) -> None:
        self._driver_name = driver_name
        self._account = account

    def knows(self, node_id: str) -> bool:
        """Whether the driver serves the node of this name. Raises `Unavailable` when the API does not answer."""
        csi_node = self._get(f"/apis/storage.k8s.io/v1/csinodes/{urllib.parse.quote(node_id, safe='')}")
        drivers = ((csi_node or {}).get("spec") or {}).get("drivers") or []
        return any(driver.get("name") == self._driver_name and driver.get("nodeID") == node_id for driver in drivers)

    def _get(self, path: str) -> dict | None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        token = (self._account / "token").read_text(encoding="utf-8").strip()  # anew each time: the kubelet renews it
        request = urllib.request.Request(f"https://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"})
        trust = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=trust) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Unavailable(f"GET {path}: {error}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"GET {path}: {error}") from error
