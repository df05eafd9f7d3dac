"""A kind cluster whose workers have disks, and can be killed and started."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pykube
import yaml
from pytest_kind import KindCluster as PytestKindCluster

from rookery.cluster import network, nodes, routes, snapshots, stores
from rookery.cluster.container_spec import ContainerSpec, save_changes
from rookery.cluster.nodes import NodeState
from rookery.cluster.snapshots import Disk, Snapshot, SnapshotKey, SnapshotRefused
from rookery.cluster.topology import Topology
from rookery.errors import InfrastructureError, UsageError, in_words
from rookery.images import engine
from rookery.kube import Kube
from rookery.machine import containers, freezer, kubeconfig, loop
from rookery.machine.copying import copy_image
from rookery.machine.disks import LoopDisk, attach, claim, create_disk, destroy, detach, record, write_back
from rookery.machine.docker import docker, docker_output
from rookery.machine.kind_nodes import add_volumes, kind_nodes, own_nodes, remove_nodes
from rookery.machine.leases import Lease
from rookery.machine.run import CommandFailed, run
from rookery.machine.volume_loops import detach_stale
from rookery.paths import state_dir
from rookery.waiting import NotYet, wait_for_machine

log = logging.getLogger(__name__)

CREATE_SECONDS = 600
API_SECONDS = 120
_IMAGES = "images of nodes"  # among the facts of a snapshot: ids by name
DISK_SIZE = 10 * 1024**3  # bytes; BlueStore works from 5 GiB on, and the files are sparse


def ensure_name_is_ours(name: str) -> None:
    """Raises `UsageError` if there is a kind cluster of that name which is not of a lease in this state folder."""
    found = kind_nodes(name)
    lease = next((lease for lease in Lease.all() if lease.name == name), None) if found else None
    own = own_nodes(found, _folder(name) / "nodes", lease)
    foreign = [node for node in found if node not in own]
    if not foreign:
        return
    folders = {Path(node.var).parent for node in foreign if node.var}
    if state := next((each.parents[2] for each in folders if each.parts[-3:] == ("clusters", name, "nodes")), None):
        raise UsageError(
            f"a run with the state folder {state} has a cluster {name}",
            hint=f"choose another --cluster-name; ROOKERY_STATE_DIR={state} is that run's, for `rookery sweep` as well",
        )
    raise UsageError(
        f"a kind cluster {name} exists that the harness did not make ({len(foreign)} nodes)",
        hint=f"choose another --cluster-name, or delete it: kind delete cluster --name {name}",
    )


def refuse_others_entry(name: str, path: Path) -> None:
    """Raises `UsageError` if a kubeconfig has an entry of that cluster's name already, and the harness did not put it
    there: it would be replaced, and gone in the end."""
    entry = _entry(name)
    if not kubeconfig.has(entry, path):
        return
    details = {"entry": entry, "server": kubeconfig.server_of(entry, path)}
    recorded = (each for lease in Lease.all() for each in lease.resources if each.kind == "kubeconfig")
    if not any(Path(each.name) == path.absolute() and each.details == details for each in recorded):
        raise UsageError(
            f"--kubeconfig {path} has an entry {entry} that the harness did not put there",
            hint="choose another --cluster-name or --kubeconfig, or take it out: "
            + "; ".join(f"kubectl config delete-{part} {entry}" for part in ("context", "cluster", "user")),
        )


def _entry(name: str) -> str:
    """What kind calls a cluster in a kubeconfig."""
    return f"kind-{name}"


def _folder(name: str) -> Path:
    return state_dir() / "clusters" / name


class KindCluster(PytestKindCluster):
    """pytest-kind's cluster with disks and leases.

    Beside what a node kill needs, it replaces what does not hold up there: nothing is downloaded at test time, every
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
        guard: Callable[[Any, Collection[str]], None] = lambda wanted, own: None,
    ) -> None:
        """`guard` is given what is to be applied, and the cluster's own disks ("/dev/loop64"); see `Kube`."""
        # pytest-kind's own __init__ makes a folder in the working directory; its attributes are set here instead.
        self.name = name
        self.image = image
        self.topology = topology
        self.path = _folder(name)
        self._own_kubeconfig = self.path / "kubeconfig"
        self.kubeconfig_path = kubeconfig or self._own_kubeconfig
        self.kind_path = kind
        self.kubectl_path = Path("kubectl")
        self.disk_size = disk_size
        self.disks: dict[str, LoopDisk] = {}
        self._guard = guard
        self._volume_loops: dict[int, int] = {}  # seen alive: number and sequence number of the attachment
        self.network = f"rookery-{name}"
        self._subnet = ""
        self._deployed = 0.0  # Unix time, seconds; of a cluster that was restored, when it was made in the first place
        self._store: Path | None = None
        self._images: dict[str, str] = {}  # ids by name, of what the nodes were made with and what was brought since
        self._images_seen: dict[str, str] = {}  # in every worker, since the nodes were made last
        self._lease: Lease | None = None

    @property
    def node_names(self) -> list[str]:
        return self.topology.node_names(self.name)

    @property
    def workers(self) -> list[str]:
        return [name for name in self.node_names if not name.endswith("-control-plane")]

    @cached_property
    def kube(self) -> Kube:
        """The cluster's API."""
        return Kube(self._own_kubeconfig, guard=lambda wanted: self._guard(wanted, self.own_disks))

    @property
    def own_disks(self) -> frozenset[str]:
        """The devices that were made for this cluster, of its nodes and beside them: all that its lease has."""
        return frozenset(resource.name for resource in self.lease.resources if resource.kind == "loop")

    @property
    def api(self) -> pykube.HTTPClient:
        """pytest-kind's client, for tests written for it."""
        return pykube.HTTPClient(pykube.KubeConfig.from_file(self.kubeconfig_path))

    @property
    def store(self) -> Path:
        """The folder that the nodes' /var began as, and that they share images with."""
        if self._store is None:
            raise InfrastructureError(
                f"the images for {self.name} have not been prepared", hint="fill_store() comes first; fixtures do it"
            )
        return self._store

    @property
    def lease(self) -> Lease:
        if self._lease is None:
            raise InfrastructureError(
                f"cluster {self.name} has not been created", hint="create() comes first; fixtures do it"
            )
        return self._lease

    def fill_store(self, images: Mapping[str, str], *, archive: Callable[[Sequence[str]], Path]) -> None:
        """Have the nodes of the cluster to be created begin with these images (their ids by name), unpacked.

        See `stores.filled_store` for `archive`.
        """
        image_id = docker_output("image", "inspect", "-f", "{{.Id}}", self.image)
        self._store = stores.filled_store(self.image, image_id, images, archive=archive)

    def create(self, config_file: object = None) -> None:
        """Create the cluster: disks, network, nodes, routes.

        The topology was given to the constructor, so pytest-kind's `config_file` is refused. Whatever goes wrong,
        nothing of it is left.

        Raises `UsageError` for a name that is taken, `InfrastructureError` with kind's own words when kind fails.
        """
        if config_file is not None:
            raise UsageError("the topology is given to the constructor", hint="Topology.load(path)")
        try:
            self._acquire()
            self._create()
        except BaseException:
            self.delete()
            raise

    def _acquire(self) -> None:
        """The lease, with nothing made yet; a cluster that was kept is taken over, but not used again as it is."""
        ensure_name_is_ours(self.name)
        lease = Lease.acquire(self.name)
        if lease.kept:  # be it all of a cluster, or what is left of one whose removal was killed
            lease.release()
            lease = Lease.acquire(self.name)
        self._lease = lease
        self.lease.make_directory(self.path)
        if self.kubeconfig_path != self._own_kubeconfig:
            refuse_others_entry(self.name, self.kubeconfig_path)
        self._own_kubeconfig.touch(0o600)

    def _create(self) -> None:
        self._images, self._images_seen = stores.images_in(self.store), {}
        for worker in self.workers:
            self.disks[worker] = create_disk(self._disk_file(worker), self.disk_size, self.lease)
        self._subnet = network.create(self.network, self.lease)
        with self._each_node() as pool:
            list(pool.map(lambda name: stores.copy_var(self.store, self.var(name), store=self.store), self.node_names))
        config = self.topology.with_var(self.name, {name: self.var(name) for name in self.node_names})
        (self.path / "kind.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        self._add_cluster()
        self._run_kind()
        self._deployed = time.time()
        self._publish_kubeconfig()
        self._prepare_nodes()
        with self._each_node() as pool:
            list(pool.map(nodes.require_masked, self.node_names))
        wait_for_machine(self._routes_added, what="every node to have a range of pod addresses", within=API_SECONDS)

    def _add_cluster(self) -> None:
        self.lease.add("cluster", self.name, nodes=str(self._nodes))

    @property
    def _nodes(self) -> Path:
        """The folder of all nodes' /var: nobody else's nodes have theirs from there."""
        return self.path / "nodes"

    def var(self, node: str) -> Path:
        """Where a node's /var lies on this machine."""
        return self._nodes / node

    def _disk_file(self, node: str) -> Path:
        return self.path / f"{node}.img"

    def _publish_kubeconfig(self) -> None:
        """Put the cluster into the kubeconfig that was asked for, beside what others have there."""
        if self.kubeconfig_path != self._own_kubeconfig:
            entry, path = _entry(self.name), self.kubeconfig_path.absolute()
            server = kubeconfig.server_of(entry, self._own_kubeconfig) or ""
            if self.lease.details("kubeconfig", path).get("server", server) != server:
                self.lease.remove("kubeconfig", path)  # with another server on record it would not be known any more
            self.lease.add("kubeconfig", path, entry=entry, server=server)
            kubeconfig.merge(self._own_kubeconfig, self.kubeconfig_path)

    def _each_node(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(self.node_names))

    def _run_kind(self) -> None:
        command = [
            str(self.kind_path),
            "create",
            "cluster",
            f"--name={self.name}",
            f"--image={self.image}",
            "--wait=0s",
            "--retain",  # else, where it fails, it deletes all nodes of a cluster of this name, whoever made them
        ]
        command += [f"--config={self.path / 'kind.yaml'}", f"--kubeconfig={self._own_kubeconfig}", "--quiet"]
        try:
            # The variable that makes kind use another network than its own:
            # https://kind.sigs.k8s.io/docs/user/known-issues/#docker-network
            run(command, timeout=CREATE_SECONDS, env={**os.environ, "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.network})
        except CommandFailed as error:
            raise InfrastructureError(
                f"kind did not create {self.name} from {self.image}\n{error.output.strip()[-3000:]}",
                hint="`rookery doctor`; is the image one that this kind knows?",
            ) from error

    def delete(self) -> None:
        """Remove the cluster with its disks and routes; idempotent."""
        if self._lease is not None:
            try:
                self._lease.release()
            finally:  # what could not be removed stays on record, for a sweep
                self._lease = None
                self.disks.clear()
                self.__dict__.pop("kube", None)  # the next cluster's API is another one

    def keep(self) -> None:
        """Leave the cluster running when this process ends (`--keep-cluster`)."""
        self.lease.keep()

    def save(self, key: SnapshotKey, name: str, facts: Mapping[str, object] | None = None) -> Snapshot:
        """Keep what the cluster is at this instant under that name, in place of what had it before; it goes on.

        All nodes are frozen while /var and disks are copied, so what is kept is what a kill of all nodes at that
        instant leaves (see `rookery.faults.node_kill`). Raises `InfrastructureError` when there is no room, or nodes
        cannot be frozen; then nothing of it stays, and the cluster is as it was.
        """
        addresses = {state.name: state.address for state in self.node_states()}
        with snapshots.staged(key, name) as partial:
            snapshot = Snapshot(
                path=key.folder / name,
                key=key.facts,
                nodes=tuple(ContainerSpec.of(node, address=addresses[node]) for node in self.node_names),
                disks=tuple(Disk(node, disk.number) for node, disk in self.disks.items()),
                subnet=self._subnet,
                store=self.store.name,
                created=self._deployed,
                facts={**(facts or {}), _IMAGES: dict(self._images)},
            )
            with freezer.frozen(self.node_names) as freeze:
                self._fill(replace(snapshot, path=partial))
            return snapshots.finish(partial, replace(snapshot, frozen=freeze), images=self.store)

    def _fill(self, snapshot: Snapshot) -> None:
        def save_node(node: str) -> None:
            stores.save_var(self.var(node), snapshot.var(node), store=self.store)
            save_changes(node, snapshot.changes(node))
            if node in self.disks:
                write_back(self.disks[node])
                copy_image(self.disks[node].path, snapshot.disk(node))

        try:
            with self._each_node() as pool:
                list(pool.map(save_node, self.node_names))
            shutil.copyfile(self._own_kubeconfig, snapshot.kubeconfig)
        except (CommandFailed, OSError) as error:
            raise InfrastructureError(
                f"{self.name} could not be saved: {in_words(error)}",
                hint=f"is there room under {snapshots.folder()}? `rookery snapshots prune`",
            ) from error

    def restore(self, snapshot: Snapshot) -> float:
        """Restore the cluster to what was saved, whatever became of it since, and start the nodes.

        Returns the time (Unix, seconds) right before the nodes started; the API answers by then. The cluster may be
        one of another process that is gone: then all of it is made again. Whatever goes wrong, nothing is left of it.

        Raises `SnapshotRefused` where a loop device or the network's subnet has been taken by others.
        """
        try:
            if self._lease is None:
                self._acquire()
            self.restore_stopped(snapshot)
            started = time.time()
            self.start_nodes()
        except BaseException:
            self.delete()
            raise
        return started

    def _give_up_other_numbers(self, wanted: Iterable[Disk]) -> None:
        """Destroy the disks that have another loop device than the saved ones; their numbers are free afterwards."""
        numbers = {disk.node: disk.number for disk in wanted}
        for node, held in list(self.disks.items()):
            if numbers.get(node) != held.number:
                destroy(held, self.lease)
                del self.disks[node]

    def restore_stopped(self, snapshot: Snapshot) -> None:
        """All of `restore` but starting the nodes."""
        self._remember_volume_loops()
        remove_nodes(self.name, self._nodes, self.lease)
        detach_stale(self._loops_seen())
        store, before = stores.folder() / snapshot.store, self._store
        self._store = store
        self._images, self._images_seen = {**stores.images_in(store), **snapshot.facts.get(_IMAGES, {})}, {}
        self._give_up_other_numbers(snapshot.disks)
        try:
            self._subnet = network.create(self.network, self.lease, subnet=snapshot.subnet)
            for disk in snapshot.disks:
                if disk.node not in self.disks:
                    self.disks[disk.node] = claim(self._disk_file(disk.node), disk.number, self.lease)
        except InfrastructureError as error:
            raise SnapshotRefused(error.message, hint=error.hint) from error
        specs = _with_free_port(snapshot.nodes)

        def restore_node(spec: ContainerSpec) -> None:
            node = spec.name
            if store != before:
                stores.remove_images(self.var(node))
            stores.copy_var(snapshot.var(node), self.var(node), store=store)
            if node in self.disks:
                detach(self.disks[node])
                copy_image(snapshot.disk(node), self.disks[node].path)
                record(self.disks[node], self.lease)
            spec.create(snapshot.changes(node))

        self._add_cluster()
        with self._each_node() as pool:
            list(pool.map(restore_node, specs))
        _write_kubeconfig(snapshot.kubeconfig, self._own_kubeconfig, specs)
        self._deployed = snapshot.created
        self._publish_kubeconfig()

    def kill_nodes(self, names: Sequence[str]) -> None:
        """Kill these nodes at once; returns when they are seen dead. See `rookery.faults.node_kill`."""
        self._remember_volume_loops()
        containers.kill(names)

    def stale_volume_loops(self) -> list[int]:
        """Loop devices of volumes that are still attached to what died in a node kill."""
        return [number for number in self._loops_seen() if loop.is_stale(number)]

    def _loops_seen(self) -> list[int]:
        """Loop devices that have served volumes of this cluster, and still are attached to the same."""
        return [number for number, sequence in self._volume_loops.items() if loop.sequence(number) == sequence]

    def _remember_volume_loops(self) -> None:
        self._volume_loops |= add_volumes(self.node_names, self.lease)

    def start_nodes(self, names: Sequence[str] | None = None) -> None:
        """Start the nodes and prepare them again; returns when the API answers."""
        for disk in self.disks.values():
            attach(disk)
        nodes.start(names or self.node_names)
        self._prepare_nodes(names)
        self.kube.reset()
        wait_for_machine(self._api_answers, what="the API server to answer", within=API_SECONDS)
        self._routes_added()

    def execute(self, node: str, *argv: str, timeout: float = 60) -> str:
        """What a program prints that is run on a node, as root; raises `CommandFailed`."""
        return docker_output("exec", node, *argv, timeout=timeout)

    def node_states(self) -> list[NodeState]:
        return nodes.states(self.node_names)

    def require_on(self) -> None:
        """Raises `InfrastructureError` if a node is off: whoever waits for what is coming up need not wait on."""
        off = [state.name for state in self.node_states() if not state.running]
        if off:
            raise InfrastructureError(
                f"a node went off while the cluster was coming up: {', '.join(off)} is off",
                hint=f"docker logs {off[0]}; did anything else on this machine stop it?",
            )

    def _prepare_nodes(self, names: Sequence[str] | None = None) -> None:
        def prepare(name: str) -> None:
            disks = [self.disks[name]] if name in self.disks else []
            nodes.prepare(name, disks, str(self.topology.networks[1]))

        names = names or self.node_names
        with self._each_node() as pool:
            list(pool.map(prepare, names))

    def _api_answers(self) -> None:
        if not self.kube.healthy():
            raise NotYet("GET /readyz fails")

    def pod_ranges(self) -> dict[str, str]:
        """Condition: every node has a range of pod addresses; each range (CIDR), with the node's address."""
        ranges: dict[str, str] = {}
        for node in self.kube.list("Node"):
            if not node["spec"].get("podCIDRs"):
                raise NotYet(f"{node['metadata']['name']} has none")
            ranges |= dict.fromkeys(node["spec"]["podCIDRs"], _internal_address(node))
        return ranges

    def _routes_added(self) -> None:
        for destination, address in self.pod_ranges().items():
            routes.add_route(destination, address, self.lease)
        for node in self.kube.list("Node"):
            if node["metadata"]["name"].endswith("-control-plane"):
                routes.add_route(str(self.topology.networks[1]), _internal_address(node), self.lease)

    def require_images(self, images: Mapping[str, str]) -> bool:
        """Have these images (ids by whole names) in every worker; what one lacks is brought from docker, and whether
        one did is returned.

        The workers are asked once since they were made. Raises `CommandFailed` if docker has not got one.
        """
        wanted = dict(images.items() - self._images_seen.items())
        if not wanted:
            return False
        # containerd has ids of its own, so that an image that was made anew since is told by what was brought before.
        others = {name for name, image_id in wanted.items() if self._images.get(name) != image_id}
        with self._each_node() as pool:
            found = dict(zip(self.workers, pool.map(self._images_of, self.workers), strict=True))
        lacking = {worker: others | (wanted.keys() - found[worker]) for worker in self.workers}
        if missing := sorted(set().union(*lacking.values())):
            log.info("importing %s into nodes that were saved without", ", ".join(missing))
            self._import(missing, [worker for worker in self.workers if lacking[worker]])
        self._images |= wanted
        self._images_seen |= wanted
        return bool(missing)

    def _images_of(self, node: str) -> set[str]:
        return set(self.execute(node, "ctr", "-n", "k8s.io", "images", "ls", "-q").split())

    def _import(self, references: Sequence[str], nodes: Sequence[str]) -> None:
        """Load images from docker into nodes, all at once."""
        archive = self.path / "images.tar"
        load = f"{stores.IMPORT} /var/images.tar; s=$?; rm /var/images.tar; [ $s = 0 ] || exit $s\n{stores.RENAME}"

        def bring(node: str) -> None:
            docker("cp", str(archive), f"{node}:/var/images.tar", timeout=120)
            docker("exec", node, "sh", "-c", load, timeout=300)

        try:
            engine.save(references, str(archive))
            with self._each_node() as pool:
                list(pool.map(bring, nodes))
        finally:
            archive.unlink(missing_ok=True)

    def ensure_kind(self) -> None:
        """kind is found or installed by `rookery setup`, never downloaded by a test."""
        if not self.kind_path.exists():
            raise InfrastructureError(f"{self.kind_path}: no such file", hint="rookery setup")

    def ensure_kubectl(self) -> None:
        """kubectl is whatever is on PATH; the harness itself does not call it."""

    def load_docker_image(self, docker_image: str) -> None:
        """Load an image from docker into every worker, in place of what has its name there."""
        self._import([docker_image], self.workers)

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
            wait_for_machine(
                lambda: _answers(process, port), what=f"the forwarded port {port} to answer", within=3 * retries
            )
            yield port
        finally:
            process.kill()
            process.wait(10)


def _internal_address(node: Mapping[str, Any]) -> str:
    return next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")


def _with_free_port(specs: Iterable[ContainerSpec]) -> list[ContainerSpec]:
    """The specs, with another port for the API server where somebody has taken the one it had."""
    ported = []
    for spec in specs:
        port = spec.api_port
        ported.append(spec if port is None or _is_free(port) else spec.with_api_port(_free_port()))
    return ported


def _write_kubeconfig(saved: Path, target: Path, specs: Iterable[ContainerSpec]) -> None:
    config = yaml.safe_load(saved.read_text(encoding="utf-8"))
    port = next(spec.api_port for spec in specs if spec.api_port)
    for each in config["clusters"]:
        address, _, _ = each["cluster"]["server"].rpartition(":")
        each["cluster"]["server"] = f"{address}:{port}"
    target.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may still linger
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _answers(process: subprocess.Popen[bytes], port: int) -> None:
    if process.poll() is not None:
        raise InfrastructureError(
            f"kubectl port-forward ended with status {process.returncode}",
            hint="its last line on stderr says why; has the pod or Service an endpoint?",
        )
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        raise NotYet(str(error)) from error
