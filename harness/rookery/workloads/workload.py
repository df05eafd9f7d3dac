"""What every database is to a scenario: deployed, written to, there when a fault comes, and checked.

A workload of one's own is a folder with a `KIND` (`registry.py`), a subclass of `Workload` and a client; see
docs/workloads.md. What is the same for all is here, so that no database is checked by rules of its own.
"""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rookery.errors import InfrastructureError, StorageFailure, Unknown
from rookery.history.checkers import Verdict, WriteReport, check_writes
from rookery.history.gaps import longest_gap
from rookery.history.operations import Outcome, format_keys, parse_keys
from rookery.history.recorder import Recorder
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import pods_gone, pods_ready
from rookery.kube.objects import Object, items_of, value_of
from rookery.kube.symptoms import log_shown
from rookery.report.results import Results
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, all_of, condition, minutes
from rookery.workloads.namespaces import remove_namespace
from rookery.workloads.registry import Kind
from rookery.workloads.volumes import Claim, ClaimSpec, Pod
from rookery.workloads.writers import WriterProcess, Writers

log = logging.getLogger(__name__)

SEED_AT_ONCE = 32  # rows of the seed: what has come while a server synced, it syncs together
SEED_TABLE = "seed"  # what a cluster with a workload brings along: rows acknowledged before a scenario begins

READY = minutes(6)
RECOVERED = minutes(5)
CLIENT_WITHIN = minutes(3)  # seconds; after a node kill servers replay their logs
CRASHED = minutes(4)  # the first pauses of a kubelet are 10, 20 and 40 s


class Spec(Protocol):
    """The Kubernetes objects of a workload; its StatefulSet, container and label `app` are called by its name."""

    @property
    def namespace(self) -> str: ...
    @property
    def replicas(self) -> int: ...
    @property
    def labels(self) -> str: ...
    def objects(self) -> list[Object]: ...


class Client(Protocol):
    """Connections to the pods that there are, good until their addresses change.

    Every request has a deadline, none is sent twice, and what became of it is recorded (`recording.py`).
    """

    @property
    def closed(self) -> bool: ...
    def close(self) -> None:
        """Let go of all connections; requests in flight end as `info`."""

    def write(self, process: int, key: int) -> Outcome:
        """Write the row of a key, once."""

    def read_rows(self, consistency: str) -> set[int]:
        """Condition: the table can be read. At `ALL` every copy of a row is asked for."""

    def read_seed(self, consistency: str) -> set[int]:
        """Condition: the table `SEED_TABLE` can be read."""


C = TypeVar("C", bound=Client)


class Workload(ABC, Generic[C]):
    """A database on volumes of its own, and the client that writes to it.

    Addresses are asked of the API each time they are needed: a node kill changes all of them.
    """

    kind: ClassVar[Kind]
    threads: ClassVar[int]  # that write at once
    rows_per_second: ClassVar[float]  # of all writers together
    longest_write: ClassVar[float]  # seconds in which a write has ended in one way or the other

    def __init__(
        self,
        kube: Kube,
        spec: Spec,
        *,
        image: str,
        record: Recorder,
        results: Results | None = None,
        table: str | None = None,
    ) -> None:
        # A table for each history: the keys of another one would look like rows that nobody wrote.
        self.table = table or f"writes_{secrets.token_hex(4)}"
        self.images: tuple[str, ...] = (image,)
        self._kube = kube
        self._spec = spec
        self._record = record
        self._results = results
        self._client: C | None = None
        self._altered = False
        self._seed: set[int] | None = set() if table == SEED_TABLE else None  # None: not asked for yet

    @property
    @abstractmethod
    def rpo_seconds(self) -> float:
        """Seconds before a fault in which an acknowledged row may be lost; 0: not one may. Known once it is ready."""

    @abstractmethod
    def _connect(self) -> C:
        """Condition: a new client is connected to the pods that answer now."""

    @abstractmethod
    def _make_table(self) -> None:
        """Condition: the table is there, empty or not."""

    @abstractmethod
    def _prove_durable(self) -> None:
        """Condition: the running servers say how they sync what they acknowledge.

        Raises `InfrastructureError` for one that does it in another way than was asked for.
        """

    @property
    def unaltered(self) -> bool:
        """Whether pods and volumes are those of the deployment, so that the next scenario may have them."""
        return not self._altered

    @property
    def namespace(self) -> str:
        return self._spec.namespace

    def deploy(self) -> None:
        """Apply the objects; does not wait."""
        self._kube.apply(self._spec.objects())

    @property
    def ready(self) -> Condition[None]:
        """The pods, a client, the table, and how the servers sync; the seed is known.

        Ends with `InfrastructureError` for servers that do not sync as was asked for.
        """
        return all_of(f"{self.kind.title} Ready", *self._until_ready(), within=READY)

    @property
    def recovered(self) -> Condition[None]:
        """The pods, a new client, and every row readable: at QUORUM first, then at ALL. Both reads are recorded.

        It is asked `since` the fault: the API shows the pods of before it as Ready.
        """
        return all_of(f"{self.kind.title} recovered", *self._until_recovered(), within=RECOVERED)

    @property
    def running(self) -> Condition[Any]:
        """All pods are Ready."""
        return pods_ready(self._kube, self.namespace, self._spec.labels, self._spec.replicas)

    def _until_ready(self) -> tuple[Condition[Any], ...]:
        return self.running, self.rebuild, self._table_made, self._durability_proved, self._seed_known

    def _until_recovered(self) -> tuple[Condition[Any], ...]:
        return self.running, self.rebuild, self.read_all("QUORUM"), self.read_all("ALL")

    @condition("the table {self.table}", within=CLIENT_WITHIN)
    def _table_made(self) -> None:
        self._make_table()

    @condition("what {self.kind.title} syncs", within=CLIENT_WITHIN)
    def _durability_proved(self) -> None:
        self._prove_durable()

    def remove(self) -> None:
        """Close the client, and delete the namespace with its pods and claims."""
        self.close()
        remove_namespace(self._kube, self.namespace)

    @condition("a client of {self.kind.title}", within=CLIENT_WITHIN)
    def rebuild(self) -> None:
        """A new client is connected to the pods as they are now; the old one is closed."""
        self.close()
        self._client = self._connect()

    def close(self) -> None:
        """Close the client; writers that use it end."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def write(self, rows: int, *, at_once: int | None = None) -> int:
        """Write `rows` new rows, each once, and return how many were acknowledged; `at_once` have so many threads at a
        time, without it as many as `writers` has."""
        client, threads = self._ready_to_write(), at_once or self.threads
        shares = [rows // threads + (number < rows % threads) for number in range(threads)]

        def write_share(share: int) -> int:
            process = WriterProcess(client.write, self._record)
            return sum(process.write() == "ok" for _ in range(share))

        with ThreadPoolExecutor(threads, thread_name_prefix="write") as pool:
            return sum(pool.map(write_share, shares))

    def writers(self) -> Writers:
        """Start threads that write new rows until they are stopped, about `rows_per_second` in all."""
        client = self._ready_to_write()
        return Writers(
            client.write,
            self._record,
            count=self.threads,
            per_second=self.rows_per_second,
            longest_write=self.longest_write,
            closed=lambda: client.closed,
        )

    @condition("every row readable at {consistency}", within=CLIENT_WITHIN)
    def read_all(self, consistency: str) -> set[int]:
        """The table, and the seed's, can be read at `consistency`; its value is the keys of the table's rows
        that are right. Each read is recorded."""
        client = self._connected()
        keys = client.read_rows(consistency)
        if self._seed:
            client.read_seed(consistency)
        return keys

    def _connected(self) -> C:
        if self._client is None:
            raise NotYet("no client is connected: wait for `rebuild` first")
        return self._client

    def _ready_to_write(self) -> C:
        """The client, with what has to be done once before its first write."""
        return self._connected()

    @property
    def history(self) -> Recorder:
        """What its clients asked for and were told, and the faults meanwhile."""
        return self._record

    def longest_gap(self) -> float:
        """The seconds of the longest time in which no write of any of its clients was acknowledged, from the first
        that was to the last. Raises `Unknown` if there were not two."""
        return longest_gap(self._record.history())

    def check(self, rpo_seconds: float | None = None) -> WriteReport:
        """Check the history by what was read after the last fault, and write the verdict down with every missing row.

        No acknowledged row may be lost but those of the last `rpo_seconds` before a fault; 0: none at all. Without it
        that is what the workload promises. Raises `StorageFailure` for a history that is invalid, and `Unknown` for one
        that proves nothing, such as one without an acknowledged row.
        """
        allowed = self.rpo_seconds if rpo_seconds is None else rpo_seconds
        report = check_writes(self._record.history(), rpo_seconds=allowed)
        self._record.checked()
        if self._results is not None:
            name = self._record.name
            self._results.record_verdict(report.as_dict(), report.describe(), rpo_seconds=allowed, of=name)
            log.info("%s%s", name and f"{name}: ", report.describe().partition("\n")[0])
        if report.verdict is Verdict.UNKNOWN:
            raise Unknown(report.describe())
        if report.verdict is not Verdict.VALID:
            raise StorageFailure(report.describe())
        return report

    def log(self, signature: Signature) -> Condition[str]:
        """The log of a pod says it."""
        labels, container = self._spec.labels, self.kind.name
        return log_shown(self._kube, self.namespace, signature, labels=labels, container=container)

    def fill_seed(self, rows: int) -> None:
        """Have `rows` rows acknowledged, and note in the cluster which, on no volume of it.

        A row that is given up is written no second time; another one is in its place. On two cores servers that have
        just started give some of the first ones up. Raises `InfrastructureError` if a whole round brings none.
        """
        acknowledged = 0
        while acknowledged < rows:
            more = self.write(rows - acknowledged, at_once=SEED_AT_ONCE)
            if not more:
                raise InfrastructureError(
                    f"{acknowledged} of {rows} rows were acknowledged, and no more",
                    hint="history.jsonl has the error of each; is the machine too slow? rookery doctor",
                )
            acknowledged += more
        self.keep_seed(write.key for write in self._record.history().writes() if write.outcome == "ok")

    def require_seed(self, within: float) -> None:
        """Connect, and read every row that was noted, from all copies; for a workload whose table is the seed's.

        Raises `DeadlineExceeded`, and `InfrastructureError` where rows are missing or none was noted: what was saved of
        the cluster is not what has been restored.
        """
        self.rebuild.wait(within)
        found, seed = self.read_all("ALL").wait(within), self.seed_kept.wait(within)
        # By their keys: rows that nobody was told of may be there as well, and would make up for others in number.
        if not seed or seed - found:
            lost = f": {format_keys(seed - found)}" if seed else ""
            raise InfrastructureError(
                f"{len(seed & found)} rows came back as they were of {len(seed)}{lost}",
                hint="--no-snapshots deploys it anew",
            )

    def keep_seed(self, keys: Iterable[int]) -> None:
        """Note in the cluster which rows of `SEED_TABLE` were acknowledged."""
        self._kube.apply([self._seed_object(format_keys(keys))])

    @condition("the keys of the seed", within=CLIENT_WITHIN)
    @retry_while_api_unavailable()
    def seed_kept(self) -> set[int]:
        """The API answers; the keys that were noted, and none in a cluster without a seed."""
        name = self._seed_object("")["metadata"]["name"]
        found = self._kube.get("ConfigMap", name, namespace=self.namespace)
        return parse_keys(found["data"]["keys"]) if found else set()

    @condition("the keys of the seed", within=CLIENT_WITHIN)
    def _seed_known(self) -> None:
        if self._seed is None:
            self._seed = self.seed_kept.now()
            if self._seed:
                self._record.seed(self._seed)

    def _seed_object(self, keys: str) -> Object:
        metadata = {"name": f"{self.kind.name}-{SEED_TABLE}", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"keys": keys}}

    def claim(self, ordinal: int = 0) -> Claim:
        """The claim of a pod's volume, by the pod's number."""
        (pods,) = (each for each in self._spec.objects() if each["kind"] == "StatefulSet")
        (template,) = pods["spec"]["volumeClaimTemplates"]
        name = f"{template['metadata']['name']}-{pods['metadata']['name']}-{ordinal}"
        return Claim(self._kube, ClaimSpec(name, self.namespace, template["spec"]["storageClassName"]))

    def pod(self, ordinal: int = 0) -> Pod:
        """One of its pods, by its number."""
        return Pod(self._kube, f"{self.kind.name}-{ordinal}", self.namespace)

    def lose_volume(self, ordinal: int) -> None:
        """Delete a pod's claim and then the pod, as a local disk is lost: both are made anew, and the volume is empty.

        Does not wait: `claim(ordinal)` is bound to another volume then.
        """
        self._altered = True
        self.claim(ordinal).delete()
        self._kube.delete("Pod", self.pod(ordinal).name, namespace=self.namespace, grace_seconds=1)

    def scale(self, replicas: int) -> None:
        """Have so many pods; the volumes of the others stay."""
        self._kube.scale("StatefulSet", self.kind.name, replicas, namespace=self.namespace)

    def start(self) -> None:
        """Have as many pods as it was deployed with."""
        self.scale(self._spec.replicas)

    @property
    def stopped(self) -> Condition[None]:
        """It has no pod any more."""
        return pods_gone(self._kube, self.namespace, self._spec.labels)

    @condition("{pod} restarted {times} times", within=CRASHED)
    @retry_while_api_unavailable()
    def crashed(self, pod: str, times: int) -> None:
        """The pod's container has ended and was started anew that often, as in a crash loop."""
        found = [each for each in self._pods() if each["metadata"]["name"] == pod]
        restarts = [
            value_of(status, "restartCount", default=0)
            for each in found
            for status in items_of(each, "status", "containerStatuses")
        ]
        if max(restarts, default=0) < times:
            raise NotYet(f"{pod} has restarted {max(restarts, default=0)} times")

    @condition("no pod but {pod}", within=CRASHED)
    @retry_while_api_unavailable()
    def alone(self, pod: str) -> None:
        """That pod is the only one of the workload."""
        if (found := [each["metadata"]["name"] for each in self._pods()]) != [pod]:
            raise NotYet(f"there are {', '.join(found) or 'none'}")

    @retry_while_api_unavailable()
    def pod_addresses(self) -> dict[str, str]:
        """Condition: the API answers; the address of each pod that has one."""
        pods = {pod["metadata"]["name"]: value_of(pod, "status", "podIP") for pod in self._pods()}
        return {name: address for name, address in pods.items() if address}

    def _pods(self) -> list[Object]:
        return self._kube.list("Pod", namespace=self.namespace, labels=self._spec.labels)


def new(
    kind: Kind,
    kube: Kube,
    *,
    storage_class: str,
    record: Recorder,
    results: Results | None = None,
    version: str | None = None,
    table: str | None = None,
    **options: Any,
) -> Workload[Any]:
    """A workload of that kind, in the kind's own version unless another is given."""
    make: Callable[..., Workload[Any]] = kind.load()
    image = kind.image_of(version)
    common = {"storage_class": storage_class, "record": record, "results": results, "table": table}
    return make(kube, image=image, **common, **options)
