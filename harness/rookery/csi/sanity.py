"""csi-sanity against the driver as it is deployed: on a node, through the very sockets that the kubelet uses.

https://github.com/kubernetes-csi/csi-test/tree/master/cmd/csi-sanity
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from rookery.cluster.kubelet_dir import DEFAULT
from rookery.csi import deployed
from rookery.csi.deployed import ControllerPod
from rookery.csi.manifests import CEPHFS, RBD, Plugin
from rookery.errors import InfrastructureError
from rookery.kube import Kube
from rookery.machine.docker import docker
from rookery.waiting import minutes

AccessType = Literal["mount", "block"]

RUN_SECONDS = minutes(15)
VOLUME_BYTES = 1 << 30

# Below the kubelet's folder, the only part of a node that the driver's pod shares with it.
_FOLDER = f"{DEFAULT}/csi-sanity"
_CONTROLLER_CALLS = (
    "CreateVolume",
    "DeleteVolume",
    "ControllerPublishVolume",
    "ControllerUnpublishVolume",
    "ControllerValidateVolumeCapabilities",
    "ControllerExpandVolume",
    "CreateSnapshot",
    "DeleteSnapshot",
    "ListSnapshots",
)
_NODE_CALLS = ("NodeStageVolume", "NodePublishVolume")


@dataclass(frozen=True)
class DriverUnderTest:
    """What is tested: a driver, by volumes that are made and used in this way."""

    plugin: Plugin
    parameters: Mapping[str, str]  # of a StorageClass
    access_type: AccessType = "mount"

    @classmethod
    def images(cls, pool: str, access_type: AccessType) -> DriverUnderTest:
        """RBD images in that pool, mounted or as raw block devices."""
        return cls(RBD, {"pool": pool}, access_type)

    @classmethod
    def subvolumes(cls, filesystem: str, pool: str) -> DriverUnderTest:
        """Subvolumes of that CephFS filesystem, their files in that pool of it."""
        return cls(CEPHFS, {"fsName": filesystem, "pool": pool})


@dataclass(frozen=True)
class SanityReport:
    """What csi-sanity found, by the names of its specs."""

    passed: tuple[str, ...]
    failed: Mapping[str, str]  # name to message
    skipped: Mapping[str, str]  # name to reason

    @classmethod
    def parse(cls, junit: str) -> SanityReport:
        passed, failed, skipped = [], {}, {}
        for case in ElementTree.fromstring(junit).iter("testcase"):
            name = case.get("name", "")
            if not name.startswith("[It]"):  # suite set-up and reports
                continue
            name = name.removeprefix("[It] ")
            trouble = next((found for tag in ("failure", "error") if (found := case.find(tag)) is not None), None)
            if trouble is not None:
                failed[name] = f"{trouble.get('message', '')}\n{trouble.text or ''}".strip()
            elif (skip := case.find("skipped")) is not None:
                skipped[name] = skip.get("message", "").removeprefix("skipped - ")
            else:
                passed.append(name)
        return cls(tuple(passed), failed, skipped)


def run_sanity(kube: Kube, program: Path, under_test: DriverUnderTest, *, namespace: str) -> SanityReport:
    """Run the csi-sanity `program` on the node of the driver's controller.

    Raises `InfrastructureError` when the controller is not there or csi-sanity does not get to its end.
    """
    plugin = under_test.plugin
    pod = deployed.controller_pod(kube, namespace, plugin)
    node = pod.node
    docker("exec", node, "mkdir", "-p", _FOLDER)
    try:
        docker("cp", str(program), f"{node}:{_FOLDER}/csi-sanity", timeout=120)
        _write(node, "secrets.yaml", _secrets(kube, plugin, namespace))
        _write(node, "parameters.yaml", {"clusterID": namespace, **under_test.parameters})
        done = docker("exec", node, *_command(pod, under_test), timeout=RUN_SECONDS, check=False)
        report = docker("exec", node, "cat", f"{_FOLDER}/junit.xml", check=False)
        if report.returncode != 0:
            raise InfrastructureError(
                f"csi-sanity did not get to its end\n{(done.stdout + done.stderr)[-3000:]}",
                hint=f"does the driver answer? kubectl -n {namespace} logs -l app={plugin.controller} --tail 30",
            )
        return SanityReport.parse(report.stdout)
    finally:
        docker("exec", node, "rm", "-rf", _FOLDER, check=False)  # the secrets are in it


def _command(pod: ControllerPod, under_test: DriverUnderTest) -> list[str]:
    return [
        f"{_FOLDER}/csi-sanity",
        f"--csi.endpoint=unix://{deployed.node_socket(DEFAULT, under_test.plugin)}",
        f"--csi.controllerendpoint=unix://{pod.socket(DEFAULT)}",
        f"--csi.mountdir={_FOLDER}/mount",
        f"--csi.stagingdir={_FOLDER}/staging",
        f"--csi.secrets={_FOLDER}/secrets.yaml",
        f"--csi.testvolumeparameters={_FOLDER}/parameters.yaml",
        f"--csi.testvolumesize={VOLUME_BYTES}",
        f"--csi.testvolumeexpandsize={2 * VOLUME_BYTES}",
        f"--csi.testvolumeaccesstype={under_test.access_type}",
        f"--ginkgo.junit-report={_FOLDER}/junit.xml",
        "--ginkgo.no-color",
    ]


def _secrets(kube: Kube, plugin: Plugin, namespace: str) -> dict[str, dict[str, str]]:
    """The secrets file of csi-sanity: those of the StorageClass, for each call that is given any."""
    found: dict[str, dict[str, str]] = {}
    for calls, name in ((_CONTROLLER_CALLS, plugin.provisioner_secret), (_NODE_CALLS, plugin.node_secret)):
        plain = deployed.secret(kube, namespace, name)
        found |= {f"{call}Secret": plain for call in calls}
    return found


def _write(node: str, name: str, content: object) -> None:
    # JSON is YAML; through standard input, so that no secret stands in a process list.
    docker("exec", "-i", node, "sh", "-c", f"umask 077; cat > {_FOLDER}/{name}", stdin=json.dumps(content))
