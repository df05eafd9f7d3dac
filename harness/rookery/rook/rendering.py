"""What is applied to have Rook and one Ceph cluster: the whole of it, without a cluster to apply it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rookery.rook import manifests
from rookery.rook.ceph_cluster import CephSpec, Object, block_pool, ceph_cluster, config_override
from rookery.rook.versions import release_of

KEY_FIELD = "spec.security.cephx.csi.keyType"


@dataclass(frozen=True)
class Rendering:
    """The objects of Rook `version` with one Ceph cluster.

    `manifests_dir` is what `manifests_for` returned. `ceph_csi` says whether Rook's own CSI driver is to serve volumes;
    without it nothing of ceph-csi is deployed. `settings` go into the operator's ConfigMap, `operator_image` replaces
    the image that operator.yaml names.
    """

    version: str
    manifests_dir: Path
    spec: CephSpec
    ceph_csi: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    operator_image: str | None = None

    def operator_stages(self) -> list[manifests.Stage]:
        """What brings the operator up, in its order."""
        return manifests.operator_stages(
            self.manifests_dir,
            release_of(self.version).flavour,
            ceph_csi=self.ceph_csi,
            settings=self.settings,
            image=self.operator_image,
        )

    def image_of_operator(self) -> str:
        """What the operator's Deployment runs."""
        return self.operator_image or manifests.operator_image(self.manifests_dir)

    def ceph_cluster(self, stages: list[manifests.Stage]) -> Object:
        """The CephCluster, as the CRD in these stages lets it be."""
        applied = [each for stage in stages for each in stage.objects]
        return ceph_cluster(self.spec, csi_key_type=manifests.crd_has_field(applied, "CephCluster", KEY_FIELD))

    def config_override(self) -> list[Object]:
        """What the daemons find in their ceph.conf from the first start on; empty for most versions."""
        return config_override(self.spec)

    def toolbox(self) -> list[Object]:
        """The pod in which Ceph is asked."""
        return manifests.toolbox(self.manifests_dir, self.spec.image)

    def block_pool(self) -> Object:
        """The pool of the default StorageClass."""
        return block_pool(self.spec)

    def objects(self) -> list[Object]:
        """All of it: with the same images it makes the same cluster."""
        stages = self.operator_stages()
        applied = [each for stage in stages for each in stage.objects]
        return [*applied, *self.config_override(), self.ceph_cluster(stages), *self.toolbox(), self.block_pool()]
