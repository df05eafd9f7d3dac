"""What volumes can do, side by side with the same pool without a driver, and how long they take to come and go.

Everything is measured on one cluster in one run, so that the machine is the same for both sides. All of it shares that
machine's processors: the nodes are containers, and neither side is nearer to the OSDs. `rbd bench` runs in the toolbox,
fio in pods; neither has a limit of CPU.

- Bandwidth: each round writes 256 MiB and reads them, on a filesystem, a raw block volume and an image, one after
  another, each round in another order. librbd's write cache is on for the image as for the driver's volumes, and all is
  flushed in the end. What is read was written in the same round.
- Each measurement of a volume has a pod of its own, on another node than the one before. So no page cache has anything
  of what it reads: not the device's (I/O is direct), and not that of the file behind the loop device, which is a new
  mount of a new server. The OSDs' own caches serve both sides alike.
- Random writes go to what has been written already, so that nothing is allocated. What is compared with what is said in
  `rookery.workloads.throughput`.
- Latency is what lies between two moments at which a watch told this side of a change. The start of a container is told
  when the kubelet has seen it, and it looks once a second; when a volume was mounted, the driver's own log tells (of
  Rook's ceph-csi, which logs otherwise, it is not known). The kubelet's condition PodReadyToStartContainers would say
  it of any driver, but without https://github.com/kubernetes/kubernetes/pull/134660 not before the container's start.
- Twenty volumes at once: claims and pods are applied together, over all workers, and deleted together.
- Random calls and csi-sanity, of the userspace drivers only: what `scenarios/test_random_operations.py` and
  `scenarios/test_csi_sanity.py` do, counted.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rookery.bench.common import Bench, Goal, noting_failure
from rookery.cluster.topology import Topology
from rookery.csi.deployed import LoggedCall, logged_calls
from rookery.csi.execution import ModelViolation
from rookery.csi.sanity import DriverUnderTest, SanityReport, run_sanity
from rookery.errors import DeadlineExceeded, InfrastructureError, RookeryError, UsageError
from rookery.images import programs
from rookery.kube.objects import fields_of, items_of, value_of
from rookery.plugin.session import Session, deployed
from rookery.random_operations import OPERATION_MIX, RandomisedRun, driver_under_test
from rookery.report.results import Results
from rookery.report.run_folder import bench_folder
from rookery.rook.deploy import Rook
from rookery.rook.states import FILESYSTEM_READY, filesystem_of
from rookery.settings import Settings
from rookery.storage.cluster import StorageCluster
from rookery.storage.states import STORAGE_READY, State
from rookery.waiting import NotYet, minutes, wait_for
from rookery.workloads.throughput import KIB, MIB, Load
from rookery.workloads.volumes import BOUND, DEVICE, MOUNT, POD_READY, Claim, ClaimSpec, Pod, Volumes

log = logging.getLogger(__name__)

SAMPLES = 20  # of each latency
CONCURRENT_VOLUMES = 20  # volumes
WRITTEN_MIB = 8  # to each of those
WORKERS = 3  # at least: as many as there are copies of all that is written
DEFAULT_SEED = 1  # of the random calls

LOAD_SECONDS = minutes(5)
TOOLBOX_SECONDS = 30.0  # until the toolbox does what it is asked to
ALL_READY = minutes(5)
LEAKS_GONE = minutes(3)
LOGGED = 10.0  # seconds until a line of the driver's log can be read

SPAN = 256 * MIB
WRITE = Load("sequential write", write=True, block=4 * MIB, total=SPAN, span=SPAN)
READ = Load("sequential read", write=False, block=4 * MIB, total=SPAN, span=SPAN)
RANDOM = Load(
    "4 KiB random write",
    write=True,
    block=4 * KIB,
    total=32 * MIB,
    span=SPAN,
    random_access=True,
    sync_writes=True,
)

VOLUME_MIB = 1024  # what a claim has, see `Claim`

RBD_BENCH, CACHED, FILESYSTEM, BLOCK = "rbd bench", "rbd bench with its cache", "ext4", "raw block"
BOUND_STEP = "PVC created to Bound"
MOUNTED_STEP, STARTED_STEP = "pod scheduled to mounted", "pod scheduled to container started"
CALLS_STEP = "NodeStageVolume and NodePublishVolume"
TOGETHER = f"{CONCURRENT_VOLUMES} volumes at once"
FAILURES, LEAKED = f"{TOGETHER}: failures", f"{TOGETHER}: leaked"
RANDOM_OPERATIONS = f"{OPERATION_MIX.length} random operations"
DONE, VIOLATIONS = f"{RANDOM_OPERATIONS}: done", f"{RANDOM_OPERATIONS}: violations of the model"
UNDER_TEST = ("images mounted", "images as raw block", "CephFS")
RESULTS = ("passed", "failed", "skipped")


def step_of(load: Load, target: str) -> str:
    """What the table calls a load on a target."""
    return f"{load.name}, {target}"


def specs_step(under_test: str, result: str) -> str:
    """What the table calls the number of specs of csi-sanity with that result."""
    return f"csi-sanity, {under_test}: {result}"


TARGETS = (RBD_BENCH, FILESYSTEM, BLOCK)
SHARES = {WRITE: 0.8, READ: 0.8, RANDOM: 0.6}
GOALS = (
    *(
        Goal(step_of(load, kind), of=step_of(load, RBD_BENCH), share=share)
        for load, share in SHARES.items()
        for kind in (FILESYSTEM, BLOCK)
    ),
    Goal(BOUND_STEP, at_most=1.5),
    Goal(MOUNTED_STEP, at_most=3.0),
    Goal(FAILURES, at_most=0),
    Goal(LEAKED, at_most=0),
    Goal(VIOLATIONS, at_most=0),
    *(Goal(specs_step(under_test, "failed"), at_most=0) for under_test in UNDER_TEST),
)
UNITS = {
    **{step_of(load, target): "MiB/s" for load in (WRITE, READ) for target in TARGETS},
    **{step_of(RANDOM, target): "IOPS" for target in (*TARGETS, CACHED)},
    **dict.fromkeys((FAILURES, LEAKED, DONE, VIOLATIONS), ""),
    **{specs_step(under_test, result): "" for under_test in UNDER_TEST for result in RESULTS},
}


@dataclass(frozen=True)
class BenchContext:
    """Where a part of the benchmark measures, and what it puts its figures into."""

    cluster: StorageCluster
    volumes: Volumes
    results: Results
    bench: Bench

    @property
    def rook(self) -> Rook:
        """Rook, deployed."""
        return self.cluster.rook

    @property
    def workers(self) -> Sequence[str]:
        """The nodes that pods run on."""
        return self.cluster.nodes.workers

    def keep(self, name: str, output: str) -> None:
        """Put what a program printed into the results folder."""
        folder = self.results.path("output")
        folder.mkdir(exist_ok=True)
        (folder / f"{name.replace(' ', '-').replace(',', '')}.txt").write_text(output, encoding="utf-8")


def volumes(settings: Settings, *, rounds: int = 3, only: Sequence[str] = ()) -> Bench:
    """Measure the parts named in `only`, or all of `PARTS`; bandwidth and random writes in so many rounds.

    A part that fails ends the benchmark; what was measured is returned, with the reason as the fact `failed`. What
    failed of many volumes at once is in `failures`, and what is left of them in `left`; specs of csi-sanity are in
    `specs_failed` and `specs_skipped`, the random call that went wrong in `violation`. Raises `UsageError` for a
    cluster of fewer than `WORKERS` workers.
    """
    _require_workers(settings)
    bench, session = Bench("volumes", units=UNITS, goals=GOALS), Session(settings)
    with (
        closing(session),
        noting_failure(bench),
        Results(bench_folder(Path(settings.results_dir), "volumes"), "volumes") as results,
    ):
        for name in [name for name in PARTS if not only or name in only]:
            # Each leaves the cluster as it was; if it does not, that is seen.
            cluster = session.cluster(PARTS[name].state, results)
            bench.facts |= _facts(cluster)
            if PARTS[name].userspace and cluster.driver != "userspace":
                bench.facts[f"{name} not measured"] = f"{cluster.driver} serves here, not the userspace drivers"
                continue
            _measure_part(name, cluster, results, bench, rounds)
        results.record(bench=bench.as_dict())
    return bench


def _require_workers(settings: Settings) -> None:
    """With fewer, there are fewer copies of what is written, and figures say nothing about the goals; what is measured
    beside is Ceph's own."""
    if settings.storage != "rook":
        raise UsageError(f"--storage {settings.storage}: what is measured is Ceph's", hint="--storage rook")
    workers = (
        settings.kind_workers if settings.kind_workers is not None else Topology.named(settings.kind_config).workers
    )
    if workers < WORKERS:
        raise UsageError(
            f"{workers} workers: the goals are of {WORKERS} and as many copies", hint=f"--kind-workers {WORKERS}"
        )


def _measure_part(name: str, cluster: StorageCluster, results: Results, bench: Bench, rounds: int) -> None:
    part = PARTS[name]
    with ExitStack() as stack:
        image = ""
        if part.pods:
            with results.phase("fio on every node"):
                image = programs.fio()
                cluster.nodes.load_docker_image(image)
        workload = Volumes(cluster.kube, image=image, storage_class=cluster.storage_class, namespace=f"bench-{name}")
        if part.pods:
            stack.enter_context(deployed(workload, cluster, results))
        stack.enter_context(results.phase(f"{name} measured"))
        part.measure(BenchContext(cluster, workload, results, bench), rounds)


def _facts(cluster: StorageCluster) -> dict[str, Any]:
    return {
        "driver": cluster.driver,
        "rook": cluster.settings.rook,
        "ceph": cluster.images.ceph,
        "cpus": os.cpu_count(),
        "workers": len(cluster.nodes.workers),
    }


@dataclass
class VolumeTarget:
    """A claim, for each load on a node that had no part in the load before."""

    name: str
    context: BenchContext
    claim: Claim
    _loads: int = field(default=0)

    def requests_per_second(self, load: Load) -> float:
        """Apply the load by fio in a new pod; the volume is mounted for it, and unmounted after it."""
        workers = self.context.workers
        node = workers[self._loads % len(workers)]
        self._loads += 1
        pod = self.context.volumes.pod(f"fio-{self.claim.name}", self.claim, node=node)
        target = DEVICE if self.claim.spec.block else f"{MOUNT}/load"
        output = pod.sh(shlex.join(load.fio(target)), timeout=LOAD_SECONDS)
        pod.delete()
        self.context.keep(f"{step_of(load, self.name)}-{self._loads}", output)
        return load.parse_fio(output)


@dataclass
class ImageTarget:
    """An image that no driver knows of."""

    name: str
    context: BenchContext
    image: str  # POOL/IMAGE
    _loads: int = field(default=0)

    def requests_per_second(self, load: Load) -> float:
        """Apply the load by `rbd bench` in the toolbox."""
        self._loads += 1
        output = _in_toolbox(self.context.rook, *load.rbd_bench(self.image), timeout=LOAD_SECONDS)
        self.context.keep(f"{step_of(load, self.name)}-{self._loads}", output)
        return load.parse_rbd_bench(output)


def _in_toolbox(rook: Rook, *command: str, timeout: float = TOOLBOX_SECONDS) -> str:
    """What the command prints; raises `DeadlineExceeded` with its last words if it fails for half a minute."""
    return wait_for(
        lambda: rook.output_of(*command, timeout=timeout), what=" ".join(command), within=TOOLBOX_SECONDS, every=2
    )


@contextmanager
def _images(context: BenchContext, mebibytes: int, *targets: str) -> Iterator[list[VolumeTarget | ImageTarget]]:
    """An image of that size for each of the targets; only that of `CACHED`, or of all if there is none, has a cache."""
    made: list[ImageTarget] = []
    try:
        for target in targets:
            image = f"{context.rook.spec.pool}/{target.replace(' ', '-')}"
            # The features that the driver's images always have.
            features = "--image-feature=layering,exclusive-lock"
            _in_toolbox(context.rook, "rbd", "create", image, f"--size={mebibytes}M", features)
            made.append(ImageTarget(target, context, image))
            if CACHED in targets and target != CACHED:
                _in_toolbox(context.rook, "rbd", "config", "image", "set", image, "rbd_cache", "false")
        yield [*made]
    finally:
        for each in made:
            _in_toolbox(context.rook, "rbd", "rm", "--no-progress", each.image)


def _volumes(context: BenchContext) -> list[VolumeTarget | ImageTarget]:
    """A new volume of each kind."""
    return [
        VolumeTarget(FILESYSTEM, context, context.volumes.claim("filesystem")),
        VolumeTarget(BLOCK, context, context.volumes.claim("block", block=True)),
    ]


def _bandwidth(context: BenchContext, rounds: int) -> None:
    with _images(context, VOLUME_MIB, RBD_BENCH) as images:
        _measure(context, [*images, *_volumes(context)], (WRITE, READ), rounds, per_request=WRITE.block / MIB)


def _random(context: BenchContext, rounds: int) -> None:
    # `rbd bench` writes anywhere in its image, fio in the part of the volume that was written.
    with _images(context, SPAN // MIB, RBD_BENCH, CACHED) as images:
        targets = [*images, *_volumes(context)]
        for target in targets:
            target.requests_per_second(WRITE)
        _measure(context, targets, (RANDOM,), rounds, per_request=1)


def _measure(
    context: BenchContext,
    targets: Sequence[VolumeTarget | ImageTarget],
    loads: Sequence[Load],
    rounds: int,
    *,
    per_request: float,
) -> None:
    """Apply the loads to all targets in each round; whoever was first comes last in the next one."""
    for number in range(rounds):
        run: dict[str, float] = {}
        context.bench.runs.append(run)
        first = number % len(targets)
        for target in [*targets[first:], *targets[:first]]:
            for load in loads:
                step = step_of(load, target.name)
                run[step] = round(target.requests_per_second(load) * per_request, 2)
                log.info("round %d: %s: %s %s", number + 1, step, run[step], UNITS[step])


def _latency(context: BenchContext, rounds: int) -> None:
    """`SAMPLES` volumes one after another, whatever the rounds; each is gone before the next one comes."""
    for number in range(SAMPLES):
        run: dict[str, float] = {}
        context.bench.runs.append(run)
        name = f"sample-{number}"
        run[BOUND_STEP] = _until_bound(context, name)
        run |= _until_started(context, name)
        Pod(context.cluster.kube, name, context.volumes.namespace).delete()
        context.volumes.delete_claim(_claim(context, name))
        log.info("%s: %s", name, ", ".join(f"{step} {seconds} s" for step, seconds in run.items()))


def _claim(context: BenchContext, name: str) -> Claim:
    return Claim(context.cluster.kube, ClaimSpec(name, context.volumes.namespace, context.cluster.storage_class))


def _until_bound(context: BenchContext, name: str) -> float:
    """Seconds from the request for the claim until it is bound."""
    kube, namespace = context.cluster.kube, context.volumes.namespace
    with kube.watch("PersistentVolumeClaim", name, namespace=namespace, within=BOUND) as changes:
        began = time.monotonic()
        context.volumes.apply_claim(name)
        return round(changes.until(is_bound, what=f"claim {name} Bound") - began, 3)


def _until_started(context: BenchContext, name: str) -> dict[str, float]:
    """Seconds from the pod's having a node until its container runs, and until its volume is mounted where the driver
    tells; the claim of that name is bound."""
    namespace, claim = context.volumes.namespace, _claim(context, name)
    with context.cluster.kube.watch("Pod", name, namespace=namespace, within=POD_READY) as changes:
        pod = context.volumes.apply_pod(name, claim)
        scheduled = changes.until(is_scheduled, what=f"pod {name} scheduled")
        started = changes.until(is_started, what=f"container of pod {name} started")
    if context.cluster.driver != "userspace":
        return {STARTED_STEP: round(started - scheduled, 3)}
    # The nodes are containers of this machine: their clock is this process's.
    scheduled_at = time.time() - (time.monotonic() - scheduled)
    calls = _mounting(context, pod.node, claim.image)
    return {
        MOUNTED_STEP: round(max(call.ended for call in calls) - scheduled_at, 3),
        CALLS_STEP: round(sum(call.seconds for call in calls), 3),
        STARTED_STEP: round(started - scheduled, 3),
    }


def _mounting(context: BenchContext, node: str, image: str) -> list[LoggedCall]:
    """The calls by which the driver of a node has mounted the volume of `POOL/IMAGE`, those that failed included."""

    def logged() -> list[LoggedCall]:
        calls = [
            call
            for call in logged_calls(context.cluster.driver_pods.log(node))
            if call.subject.endswith(f"/{image}") and call.method in ("NodeStageVolume", "NodePublishVolume")
        ]
        if not any(call.method == "NodePublishVolume" and call.code == "OK" for call in calls):
            raise NotYet(f"{len(calls)} calls for {image}, none of which has published it")
        return calls

    return wait_for(logged, what=f"the driver on {node} to tell that {image} is mounted", within=LOGGED)


def is_bound(claim: dict[str, Any]) -> None:
    """Condition: the claim is bound."""
    phase = value_of(claim, "status", "phase")
    if phase != "Bound":
        raise NotYet(f"it is {phase}")


def is_scheduled(pod: dict[str, Any]) -> None:
    """Condition: the pod has a node."""
    if not value_of(pod, "spec", "nodeName"):
        raise NotYet("it has no node")


def is_started(pod: dict[str, Any]) -> None:
    """Condition: the pod's one container runs."""
    states = [fields_of(status, "state") for status in items_of(pod, "status", "containerStatuses")]
    if not states or states[0].get("running") is None:
        raise NotYet(f"its container is {states or 'not there'}")


def _parallel(context: BenchContext, rounds: int) -> None:
    """`CONCURRENT_VOLUMES` over all workers, once, whatever the rounds: made, mounted, written, deleted together."""
    volumes, failures, run = context.volumes, list[str](), dict[str, float]()
    context.bench.runs.append(run)
    began = time.monotonic()
    claims = [volumes.apply_claim(f"data-{number}") for number in range(CONCURRENT_VOLUMES)]
    pods = [
        volumes.apply_pod(claim.name, claim, node=context.workers[number % len(context.workers)])
        for number, claim in enumerate(claims)
    ]
    ready = [pod for pod in pods if _succeeds(failures, pod, partial(_becomes_ready, pod, began))]
    mounted = time.monotonic()
    with ThreadPoolExecutor(CONCURRENT_VOLUMES) as pool:
        list(pool.map(lambda pod: _succeeds(failures, pod, lambda: pod.write("random", WRITTEN_MIB)), ready))
    written = time.monotonic()
    for kind in ("Pod", "PersistentVolumeClaim"):
        for claim in claims:
            context.cluster.kube.delete(kind, claim.name, namespace=volumes.namespace, grace_seconds=1)
    left = _left_at_last(context.cluster)
    gone = time.monotonic()
    run |= {
        f"{TOGETHER}: created and mounted": round(mounted - began, 1),
        f"{TOGETHER}: written": round(written - mounted, 1),
        f"{TOGETHER}: unmounted and deleted": round(gone - written, 1),
        TOGETHER: round(gone - began, 1),
        FAILURES: len(failures),
        LEAKED: len(left),
    }
    context.bench.facts |= {"failures": failures, "left": left}


def _becomes_ready(pod: Pod, began: float) -> None:
    """All have the same deadline, counted from the beginning."""
    left = max(began + ALL_READY - time.monotonic(), 0)
    pod.ready.wait(within=left)


def _succeeds(failures: list[str], pod: Pod, act: Callable[[], object]) -> bool:
    """Whether it does; what it fails with goes to the others."""
    try:
        act()
    except RookeryError as error:
        failures.append(f"{pod.name}: {error}")
        return False
    return True


def _left_at_last(cluster: StorageCluster) -> list[str]:
    """What of volumes is still there when it should not be any more; returns as soon as there is nothing."""

    def nothing() -> None:
        left = cluster.storage.leaked_volumes(())
        if not left and cluster.driver == "userspace":
            left = [str(finding) for finding in cluster.leaks()]
        if left:
            raise NotYet("\n".join(left))

    try:
        wait_for(nothing, what="nothing left of the volumes", within=LEAKS_GONE, every=1)
    except DeadlineExceeded as error:
        return error.reason.splitlines()
    return []


def _operations(context: BenchContext, rounds: int) -> None:
    """The sequence of the seed, once, whatever the rounds."""
    seed = context.cluster.settings.fault_seed
    ran: dict[str, float] = {}  # of a run that did not come to its end nobody knows whether all agreed
    with driver_under_test(context.cluster, context.results) as driver:
        random_run = RandomisedRun(context.cluster, driver, context.results, DEFAULT_SEED if seed is None else seed)
        context.bench.facts["seed"] = random_run.seed
        try:
            random_run.run()
            ran[VIOLATIONS] = 0
        except ModelViolation as error:
            ran[VIOLATIONS] = 1
            context.bench.facts["violation"] = str(error)
            raise
        finally:
            context.bench.runs.append({DONE: len(random_run.done), **ran})


def _sanity(context: BenchContext, rounds: int) -> None:
    """All of csi-sanity once for each driver and way of use, whatever the rounds."""
    cluster, results, run = context.cluster, context.results, dict[str, float]()
    context.bench.runs.append(run)
    with results.phase("csi-sanity here"):
        program = programs.csi_sanity()
    filesystem, pool = filesystem_of(cluster), context.rook.spec.pool
    all_under_test = (
        DriverUnderTest.images(pool, "mount"),
        DriverUnderTest.images(pool, "block"),
        DriverUnderTest.subvolumes(filesystem.name, filesystem.data_pool),
    )
    failed: dict[str, Any] = {}
    skipped: dict[str, Any] = {}
    context.bench.facts |= {"specs_failed": failed, "specs_skipped": skipped}
    for name, under_test in zip(UNDER_TEST, all_under_test, strict=True):
        with results.phase(f"csi-sanity, {name}"):
            report = run_sanity(cluster.kube, program, under_test, namespace=context.rook.spec.namespace)
        if not report.passed:
            raise InfrastructureError(
                f"csi-sanity, {name}: no spec has passed",
                hint="is the driver up? kubectl --namespace rook-ceph get pods, with --keep-cluster",
            )
        run |= _counted(name, report)
        failed |= {f"{name}: {spec}": text for spec, text in report.failed.items()}
        skipped |= {f"{name}: {spec}": reason for spec, reason in report.skipped.items()}
        cluster.no_leaked_volumes.wait(within=LEAKS_GONE)


def _counted(under_test: str, report: SanityReport) -> dict[str, float]:
    return {
        specs_step(under_test, result): len(specs)
        for result, specs in zip(RESULTS, (report.passed, report.failed, report.skipped), strict=True)
    }


@dataclass(frozen=True)
class Part:
    """What can be measured by itself."""

    measure: Callable[[BenchContext, int], None]
    state: State = STORAGE_READY
    pods: bool = True  # with volumes, of the image with fio
    userspace: bool = False  # of the userspace drivers only


PARTS = {
    "bandwidth": Part(_bandwidth),
    "random": Part(_random),
    "latency": Part(_latency),
    "parallel": Part(_parallel),
    "operations": Part(_operations, pods=False, userspace=True),
    "sanity": Part(_sanity, FILESYSTEM_READY, pods=False, userspace=True),
}
