"""What a node's container is, apart from /var: enough to make the very same one again.

kind makes a node by a container and then by what it changes in the container's own files (certificates, static pods,
settings of the kubelet). Both are kept: the container's settings as the engine tells them, and the changed files.
"""

from __future__ import annotations

import copy
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from docker.errors import DockerException
from requests import RequestException

from rookery.errors import InfrastructureError
from rookery.machine.docker import api

MODIFIED, ADDED, DELETED = 0, 1, 2
API_PORT = "6443/tcp"


@dataclass(frozen=True)
class ContainerSpec:
    """A node's container. `config` and `host` are the engine's `Config` and `HostConfig`; `image` is an image's id.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
    """

    name: str
    image: str
    config: Mapping[str, Any]
    host: Mapping[str, Any]
    address: str  # on the cluster's network

    @classmethod
    def of(cls, name: str, *, address: str) -> ContainerSpec:
        """The spec of an existing container; one made by it gets that address."""
        with _engine_asked(f"looking at {name}"):
            found = api().inspect_container(name)
        config = {key: value for key, value in found["Config"].items() if key not in ("Image", "Volumes")}
        return cls(name, found["Image"], config, found["HostConfig"], address)

    @property
    def api_port(self) -> int | None:
        """The port of this machine at which the node's API server answers; None for a worker."""
        published = (self.host.get("PortBindings") or {}).get(API_PORT)
        return int(published[0]["HostPort"]) if published else None

    def with_api_port(self, port: int) -> ContainerSpec:
        """The same, its API server published at another port."""
        host = copy.deepcopy(dict(self.host))
        host["PortBindings"][API_PORT][0]["HostPort"] = str(port)
        return ContainerSpec(self.name, self.image, self.config, host, self.address)

    def create(self, changes: Path) -> None:
        """Make the container, not started, with the changed files of the tar archive `changes`."""
        network = self.host["NetworkMode"]
        endpoint = {"IPAMConfig": {"IPv4Address": self.address}, "Aliases": [self.name]}
        body = {
            **self.config,
            "Image": self.image,
            "HostConfig": self.host,
            "NetworkingConfig": {"EndpointsConfig": {network: endpoint}},
        }
        with _engine_asked(f"making {self.name} again"), changes.open("rb") as archive:
            api().create_container_from_config(body, name=self.name)
            api().put_archive(self.name, "/", archive)


def save_changes(name: str, target: Path) -> None:
    """Write what a node's container changed in its image's files, as a tar archive; what is mounted is left out.

    Raises `InfrastructureError` if it removed any: an archive cannot say so.
    """
    with _engine_asked(f"saving the files of {name}"):
        _save_changes(name, target)


def _save_changes(name: str, target: Path) -> None:
    mounted = {place for mount in api().inspect_container(name)["Mounts"] for place in _places(mount["Destination"])}
    changes = api().diff(name) or []
    deleted = [change["Path"] for change in changes if change["Kind"] == DELETED]
    if deleted:
        raise InfrastructureError(
            f"{name} removed files of its image, which cannot be saved: {', '.join(deleted)}",
            hint="--no-snapshots, or a node image whose nodes remove nothing of it",
        )
    with tarfile.open(target, "w") as archive:
        for path in [path for path in outermost(changes) if path not in mounted]:
            _add(archive, name, path)


@contextmanager
def _engine_asked(what: str) -> Iterator[None]:
    try:
        yield
    except (DockerException, RequestException) as error:
        raise InfrastructureError(f"{what}: {error}", hint="docker info; docker system df") from error


def _places(destination: str) -> tuple[str, str]:
    """A mount's place, which may lie behind a link such as /lib -> /usr/lib."""
    return destination, f"/usr{destination}"


def outermost(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths to save: those changed themselves, not the folders that only contain them, nor what comes with one."""
    kinds = {change["Path"]: change["Kind"] for change in changes}
    parents = {str(parent) for path in kinds for parent in PurePosixPath(path).parents}

    def comes_along(path: str) -> bool:
        return any(kinds.get(str(parent)) == ADDED for parent in PurePosixPath(path).parents)

    return [
        path
        for path, kind in sorted(kinds.items())
        if not comes_along(path) and not (kind == MODIFIED and path in parents)
    ]


def _add(archive: tarfile.TarFile, name: str, path: str) -> None:
    """Copy a file, or a folder with all in it, out of the container and into the archive, under its whole path."""
    chunks, _ = api().get_archive(name, path)
    folder = PurePosixPath(path).parent
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as found:
        for member in found:
            member.name = str(folder / member.name).lstrip("/")
            if member.islnk():
                member.linkname = str(folder / member.linkname).lstrip("/")
            archive.addfile(member, found.extractfile(member) if member.isreg() else None)
