"""Where a Ceph cluster is found, and as whom: the ConfigMap that Rook writes for ceph-csi, and a call's secrets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import InvalidArgument, Unauthenticated, Unavailable


@dataclass(frozen=True)
class Credentials:
    """A Ceph user and its key; the key never appears in a representation, so never in a log."""

    user: str
    key: str = field(repr=False)

    @classmethod
    def from_secrets(cls, secrets: Mapping[str, str]) -> Credentials:
        """The user of a call, by ceph-csi's names: `userID` and `userKey`, of CephFS also `adminID` and `adminKey`.

        Raises `Unauthenticated`.
        """
        for kind in ("user", "admin"):
            user, key = secrets.get(f"{kind}ID", ""), secrets.get(f"{kind}Key", "")
            if user and key:
                return cls(user, key)
        raise Unauthenticated("the secrets must hold userID and userKey, or adminID and adminKey")

    @classmethod
    def from_folder(cls, folder: Path) -> Credentials | None:
        """The user of a Secret that is mounted at `folder`; None while there is none.

        Read anew each time: the kubelet replaces the files when Rook changes the key.
        """
        names = [f"{kind}{part}" for kind in ("user", "admin") for part in ("ID", "Key")]
        try:
            return cls.from_secrets(
                {name: (folder / name).read_text(encoding="utf-8") for name in names if (folder / name).exists()}
            )
        except Unauthenticated:
            return None


@dataclass(frozen=True)
class ClusterConfig:
    """`csi-cluster-config-json` of a ConfigMap that Rook keeps, as it is mounted into the pod.

    Read anew each time: the kubelet replaces the file when Rook moves a monitor.
    https://github.com/ceph/ceph-csi/blob/devel/deploy/csi-config-map-sample.yaml
    """

    path: Path

    def clusters(self) -> list[str]:
        """The ids of the clusters. Raises `Unavailable` before Rook has written any."""
        return [cluster["clusterID"] for cluster in self._read()]

    def monitors(self, cluster_id: str) -> list[str]:
        """The monitors' addresses. Raises `Unavailable` before Rook has written any, `InvalidArgument` if unknown."""
        for cluster in self._read():
            if cluster.get("clusterID") == cluster_id:
                if not cluster.get("monitors"):
                    raise Unavailable(f"no monitors are known yet for cluster ID ({cluster_id})")
                return list(cluster["monitors"])
        raise InvalidArgument(f"missing configuration for cluster ID ({cluster_id})")

    def _read(self) -> list[dict[str, Any]]:
        try:
            clusters = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            clusters = []
        except ValueError as error:
            raise Unavailable(f"{self.path}: {error}") from error
        if not clusters:
            raise Unavailable(f"no cluster is configured yet in {self.path}")
        return clusters


@contextmanager
def client_files(
    folder: Path, monitors: Sequence[str], credentials: Credentials, settings: Sequence[str] = ()
) -> Iterator[Path]:
    """A ceph.conf and a keyring in `folder`, for as long as a client program reads them: until it serves.

    `settings` are lines of the configuration, "client_oc_size = 33554432". The folder has to be in a tmpfs, so that no
    key is ever written to a disk.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        keyring, configuration = folder / "keyring", folder / "ceph.conf"
        keyring.touch(mode=0o600)
        keyring.write_text(f"[client.{credentials.user}]\n\tkey = {credentials.key}\n", encoding="utf-8")
        # No time-outs here, unlike the driver's own connections: I/O waits for Ceph, as on any disk.
        lines = ["[global]", f"mon_host = {','.join(monitors)}", f"keyring = {keyring}", *settings]
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield configuration
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_client_files(secrets_dir: Path) -> None:
    """Remove what an earlier life of the driver, which was killed meanwhile, has left of `client_files` there.

    A client that has not read them yet ends; whoever asks for the volume again has another one started.
    """
    for folder in secrets_dir.glob("*"):
        shutil.rmtree(folder, ignore_errors=True)
