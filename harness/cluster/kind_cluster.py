"""A kind cluster whose workers have disks, and whose power can be cut."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pykube
import yaml
from pytest_kind import KindCluster as PytestKindCluster

from harness.cluster import nodes, power, routes, stores
from harness.cluster.nodes import NodeState
from harness.cluster.power import PowerCut
from harness.cluster.topology import Topology
from harness.errors import BadInput, InfrastructureError
from harness.kube import Kube
from harness.machine.disks import LoopDisk, attach, create_disk
from harness.machine.docker import docker, docker_output
from harness.machine.leases import KIND_CLUSTER_LABEL, Lease
from harness.machine.run import CommandFailed, run
from harness.paths import state_dir
from harness.waiting import NotYet, wait_for

CREATE_SECONDS = 600
API_SECONDS = 120
DISK_SIZE = 10 * 1024**3  # bytes; BlueStore works from 5 GiB on, and the files are sparse


def refuse_strangers(name: str) -> None:
    """Raises `BadInput` if there is a kind cluster of that name which the harness did not make."""
    containers = docker_output("ps", "-aq", "--filter", f"label={KIND_CLUSTER_LABEL}={name}").split()
    if containers and not any(lease.name == name for lease in Lease.all()):
        raise BadInput(
            f"a kind cluster {name} exists that the harness did not make ({len(containers)} nodes)",
            cure=f"choose another --cluster-name, or delete it: kind delete cluster --name {name}",
        )


class KindCluster(PytestKindCluster):
    """pytest-kind's cluster with disks, leases and power.

    Beside what a power cut needs, it replaces what does not hold up there: nothing is downloaded at test time, every
    program has a deadline, a failed create leaves nothing behind, and `port_forward` returns when the port answers.
    """

    def __init__(
        self,
        name: str,
        topology: Topology,
        *,
        image: str,
        kind: Path,
        kubeconfig: Path | None = None,
        disk_size: int = DISK_SIZE,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        # pytest-kind's own __init__ makes a folder in the working directory; its attributes are set here instead.
        self.name = name
        self.image = image
        self.topology = topology
        self.path = state_dir() / "clusters" / name
        self.kubeconfig_path = kubeconfig or self.path / "kubeconfig"
        self.kind_path = kind
        self.kubectl_path = Path("kubectl")
        self.disk_size = disk_size
        self.disks: dict[str, LoopDisk] = {}
        self._say = say
        self._store: Path | None = None
        self._lease: Lease | None = None

    # --- what it is made of -------------------------------------------------------------------------------------

    @property
    def node_names(self) -> list[str]:
        return self.topology.node_names(self.name)

    @property
    def workers(self) -> list[str]:
        return [name for name in self.node_names if not name.endswith("-control-plane")]

    @cached_property
    def kube(self) -> Kube:
        """The cluster's API."""
        return Kube(self.kubeconfig_path)

    @property
    def api(self) -> pykube.HTTPClient:
        """pytest-kind's client, for tests written for it."""
        return pykube.HTTPClient(pykube.KubeConfig.from_file(self.kubeconfig_path))

    @property
    def lease(self) -> Lease:
        if self._lease is None:
            raise InfrastructureError(f"cluster {self.name} has not been created")
        return self._lease

    # --- coming and going ---------------------------------------------------------------------------------------

    def prepare_store(self, archive: Path) -> None:
        """Have the workers of the cluster to be created begin with the images of that archive, unpacked."""
        image_id = docker_output("image", "inspect", "-f", "{{.Id}}", self.image)
        self._store = stores.filled_store(self.image, image_id, archive, self._say)

    def create(self, config_file: object = None) -> None:
        """Create the cluster: disks, nodes, routes.

        The topology was given to the constructor, so pytest-kind's `config_file` is refused. Whatever goes wrong,
        nothing is left behind.

        Raises `BadInput` for a name that is taken, `InfrastructureError` with kind's own words when kind fails.
        """
        if config_file is not None:
            raise BadInput("the topology is given to the constructor", cure="Topology.load(path)")
        refuse_strangers(self.name)
        self._lease = Lease.acquire(self.name)
        try:
            self._create()
        except BaseException:
            self.delete()
            raise

    def _create(self) -> None:
        lease = self.lease
        if lease.has_cluster():  # one that was kept: taken over, but not used again as it is
            lease.release()
            self._lease = lease = Lease.acquire(self.name)
        lease.add("directory", self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.kubeconfig_path.touch(0o600)
        for number, worker in enumerate(self.workers, start=1):
            self.disks[worker] = create_disk(self.path / f"disk{number}.img", self.disk_size, lease)
        config = self.topology.with_stores(self.name, self._copies_of_store())
        (self.path / "kind.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        lease.add("cluster", self.name)
        self._run_kind()
        self._prepare_nodes()
        wait_for(self._routes_added, what="every node to have a range of pod addresses", within=API_SECONDS)

    def _copies_of_store(self) -> dict[str, Path]:
        if self._store is None:
            return {}
        copies = {worker: self.path / "containerd" / worker for worker in self.workers}
        for copy in copies.values():
            stores.copy_store(self._store, copy)
        return copies

    def _run_kind(self) -> None:
        command = [
            str(self.kind_path),
            "create",
            "cluster",
            f"--name={self.name}",
            f"--image={self.image}",
            "--wait=0s",
        ]
        command += [f"--config={self.path / 'kind.yaml'}", f"--kubeconfig={self.kubeconfig_path}", "--quiet"]
        try:
            run(command, timeout=CREATE_SECONDS)
        except CommandFailed as error:
            raise InfrastructureError(
                f"kind did not create {self.name} from {self.image}\n{error.output.strip()[-3000:]}",
                cure="`rookery doctor`; is the image one that this kind knows?",
            ) from error

    def delete(self) -> None:
        """Remove the cluster with its disks and routes; idempotent."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None
            self.disks.clear()

    def keep(self) -> None:
        """Leave the cluster running when this process ends (`--keep-cluster`)."""
        self.lease.keep()

    # --- power --------------------------------------------------------------------------------------------------

    def power_cut(self, names: Sequence[str] | None = None) -> PowerCut:
        """Kill all nodes, or those named, at once; returns when they are seen dead. See `harness.cluster.power`."""
        return power.cut(names or self.node_names)

    def power_on(self, names: Sequence[str] | None = None) -> None:
        """Start the nodes and prepare them again; returns when the API answers."""
        for disk in self.disks.values():
            attach(disk)
        power.start(names or self.node_names)
        self._prepare_nodes(names)
        self.kube.reset()
        wait_for(self._api_answers, what="the API server to answer", within=API_SECONDS)
        self._routes_added()

    def power_cycle(self, names: Sequence[str] | None = None) -> PowerCut:
        """Cut the power and turn it on again."""
        power_cut = self.power_cut(names)
        self.power_on(names)
        return power_cut

    def node_states(self) -> list[NodeState]:
        return nodes.states(self.node_names)

    def _prepare_nodes(self, names: Sequence[str] | None = None) -> None:
        def prepare(name: str) -> None:
            nodes.prepare(name, [self.disks[name]] if name in self.disks else [])

        names = names or self.node_names
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(prepare, names))

    def _api_answers(self) -> None:
        if not self.kube.healthy():
            raise NotYet("GET /readyz fails")

    def _routes_added(self) -> None:
        for node in self.kube.list("Node"):
            name, ranges = node["metadata"]["name"], node["spec"].get("podCIDRs")
            if not ranges:
                raise NotYet(f"{name} has none")
            address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
            for destination in ranges:
                routes.add_route(destination, address, self.lease)
            if name.endswith("-control-plane"):
                routes.add_route(str(self.topology.networks[1]), address, self.lease)

    # --- pytest-kind's surface ----------------------------------------------------------------------------------

    def ensure_kind(self) -> None:
        """kind is found or installed by `rookery setup`, never downloaded by a test."""
        if not self.kind_path.exists():
            raise InfrastructureError(f"{self.kind_path}: no such file", cure="rookery setup")

    def ensure_kubectl(self) -> None:
        """kubectl is whatever is on PATH; the harness itself does not call it."""

    def load_docker_image(self, docker_image: str) -> None:
        """Load an image from docker into every worker.

        Through an archive of one platform: `kind load docker-image` fails with docker's containerd image store
        (https://github.com/kubernetes-sigs/kind/issues/3795).
        """
        archive = self.path / "image.tar"
        docker("save", "-o", str(archive), docker_image, timeout=300)
        try:
            for worker in self.workers:
                docker("cp", str(archive), f"{worker}:/var/image.tar", timeout=120)
                load = ["ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "/var/image.tar"]
                docker("exec", worker, "sh", "-c", f"{' '.join(load)}; s=$?; rm /var/image.tar; exit $s", timeout=300)
        finally:
            archive.unlink()

    def kubectl(self, *args: str, timeout: float = 60) -> str:
        """What kubectl prints; for a user's own tests."""
        return run([str(self.kubectl_path), f"--kubeconfig={self.kubeconfig_path}", *args], timeout=timeout).stdout

    @contextmanager
    def port_forward(
        self,
        service_or_pod_name: str,
        remote_port: int,
        *args: str,
        local_port: int | None = None,
        retries: int = 10,
    ) -> Iterator[int]:
        """Yields a local port that leads to the Service or pod, as soon as it answers; waits 3 s for each retry.

        For tests written for pytest-kind. Here pods and Services can be reached under their own addresses as well.
        """
        port = local_port or _free_port()
        command = [str(self.kubectl_path), f"--kubeconfig={self.kubeconfig_path}", "port-forward", service_or_pod_name]
        process = subprocess.Popen([*command, f"{port}:{remote_port}", *args], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: _answers(process, port), what=f"the forwarded port {port} to answer", within=3 * retries)
            yield port
        finally:
            process.kill()
            process.wait(10)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _answers(process: subprocess.Popen[bytes], port: int) -> None:
    if process.poll() is not None:
        raise InfrastructureError(f"kubectl port-forward ended with status {process.returncode}")
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        raise NotYet(str(error)) from error
