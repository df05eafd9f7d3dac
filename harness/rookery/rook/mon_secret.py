"""The Secret by which Rook's operator knows a Ceph cluster as its own: the fsid, and the keys of mons and admin.

Rook protects it by a finalizer, and makes no other one for a cluster that it has already made.
"""

from __future__ import annotations

import base64
import re

from rookery.errors import UsageError
from rookery.kube.objects import value_of
from rookery.rook.deploy import MON_SECRET, Rook

KEYRINGS = "rook-ceph-mons-keyring"
_PROTECTED_BY = "ceph.rook.io/disaster-protection"
_KEY = re.compile(r"^\[(\S+)\][^\[]*?^\s*key = (\S+)$", re.MULTILINE)


class MonSecret:
    """The Secret of the cluster's mons."""

    def __init__(self, rook: Rook) -> None:
        self._kube = rook.kube
        self._namespace = rook.spec.namespace
        self._cluster = rook.spec.name

    def delete(self) -> None:
        """Take its finalizer off, and delete it."""
        self._kube.patch("Secret", MON_SECRET, {"metadata": {"finalizers": None}}, namespace=self._namespace)
        self._kube.delete("Secret", MON_SECRET, namespace=self._namespace)

    def write_again(self) -> None:
        """Make it of what else Kubernetes has: the mons' keyrings, and the fsid in the CephCluster's status.

        Raises `UsageError` where that is not all there.
        """
        cluster = self._kube.get("CephCluster", self._cluster, namespace=self._namespace)
        keyrings = self._kube.get("Secret", KEYRINGS, namespace=self._namespace)
        fsid = value_of(cluster, "status", "ceph", "fsid")
        keys = dict(_KEY.findall(_decoded(value_of(keyrings, "data", "keyring", default=""))))
        if cluster is None or not fsid or not {"mon.", "client.admin"} <= keys.keys():
            raise UsageError(
                f"Secret {MON_SECRET} cannot be written again: of {self._cluster} the fsid is {fsid!r}, and there are "
                f"keys of {', '.join(sorted(keys)) or 'nobody'}",
                hint="the keyrings are on the disks of the mons, too",
            )
        content = {
            "fsid": fsid,
            "mon-secret": keys["mon."],
            "ceph-username": "client.admin",
            "ceph-secret": keys["client.admin"],
        }
        self._kube.apply([self._manifest(content, cluster["metadata"]["uid"])])

    def _manifest(self, content: dict[str, str], owner: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": MON_SECRET,
                "namespace": self._namespace,
                "finalizers": [_PROTECTED_BY],
                "ownerReferences": [
                    {
                        "apiVersion": "ceph.rook.io/v1",
                        "kind": "CephCluster",
                        "name": self._cluster,
                        "uid": owner,
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "type": "kubernetes.io/rook",
            "stringData": content,
        }


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
