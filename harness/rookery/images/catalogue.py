"""Which images Rook needs. Workloads name theirs themselves (see `rookery.catalogue.images`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

USERSPACE_CSI = "localhost/rookery/userspace-csi:1"
CSI_SANITY = "localhost/rookery/csi-sanity:1"
CHROMIUM = "localhost/rookery/chromium:1"
FIO = "localhost/rookery/fio:1"
DEBIAN = "localhost/rookery/debian:trixie"
KIND = "localhost/rookery/kind:v0.33.0"

# Of Rook's images.txt, what ceph-csi is deployed from; the object storage images (COSI) serve no scenario.
CEPH_CSI = (
    "cephcsi",
    "ceph-csi-operator",
    "k8s-sidecar",
    "csi-attacher",
    "csi-provisioner",
    "csi-resizer",
    "csi-snapshotter",
    "csi-node-driver-registrar",
)


def image_of_operator(version: str) -> str:
    """That of Rook's operator, as its images.txt of every version names it."""
    return f"docker.io/rook/ceph:v{version}"


@dataclass(frozen=True)
class Catalogue:
    """The images of Rook, Ceph and the CSI driver, which are loaded into the workers."""

    operator: str
    ceph: str
    driver: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (self.operator, self.ceph, *self.driver)


def catalogue(
    *,
    images_txt: Iterable[str],
    ceph: str | None,
    ceph_csi: bool,
) -> Catalogue:
    """The images for a Rook version, read from its own images.txt.

    `ceph` is a version without `v`; without it it is the one Rook names. `ceph_csi` says whether Rook's own drivers
    serve the volumes, or the userspace driver does.
    """
    images = list(images_txt)

    def named(name: str) -> str:
        return next(image for image in images if image.rpartition(":")[0].endswith(name))

    operator = next(image for image in images if "rook/ceph:" in image)
    operator = operator if operator.startswith("docker.io/") else f"docker.io/{operator}"
    own = [image for image in images if image.rpartition(":")[0].rpartition("/")[2] in CEPH_CSI]
    return Catalogue(
        operator=operator,
        ceph=f"quay.io/ceph/ceph:v{ceph}" if ceph else named("ceph/ceph"),
        driver=tuple(own) if ceph_csi else (USERSPACE_CSI,),
    )
