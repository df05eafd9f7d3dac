"""A storage system: what serves the volumes of a cluster, as the harness deploys, measures and cleans it.

`rookery.rook` and `rookery.local` are two. Another one is a package with a class like theirs, which its distribution
names as an entry point of the group `rookery.storage`; nothing of the harness is touched. See docs/storage-systems.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from rookery.cluster.kind_cluster import KindCluster
from rookery.csi.leaks import NOTHING, Expected, Finding
from rookery.errors import InfrastructureError, UsageError
from rookery.images.catalogue import DEBIAN
from rookery.waiting import Condition

if TYPE_CHECKING:  # what only some have is theirs to make
    from rookery.csi.operations import DriverPods
    from rookery.images.catalogue import Catalogue
    from rookery.rook.deploy import Rook
    from rookery.settings import Settings
    from rookery.storage.baseline.fingerprint import Difference, Fingerprint

GROUP = "rookery.storage"
# Not entry points of this distribution, which an editable install has as they were when it was installed: what a
# checkout has of its own is there without installing it anew, as it is with workloads, whose folders are looked for.
OWN = {"rook": "rookery.rook.system:RookSystem", "local": "rookery.local.system:LocalVolumes"}

Phase = Callable[[str], AbstractContextManager[object]]
"""Reports a phase while its `with` lasts."""

Milestone = Callable[[str], None]
DONE = "done"  # the last step of an upgrade or a roll back
"""Is told of each step when it is over."""

Baseline = Mapping[str, Any]
"""What a recovery is compared with, in the system's own words; JSON, as it is saved with a cluster."""


class StorageSystem(ABC):
    """What serves the volumes of one cluster. It is made before its cluster, and asked for images first.

    `deploy` or `found_on` gives it the cluster's nodes, `forget` takes them away. Conditions raise `NotYet`. What is
    not abstract is right for a system that has nothing of the kind.
    """

    name: ClassVar[str]
    """As `--storage` has it."""

    driver: str
    """What mounts the volumes: a name for reports."""

    pods_run: ClassVar[str] = DEBIAN
    """The image of the pods by which `cluster_files` and `cluster_volumes` use volumes: it has sh and coreutils. Empty:
    one of `images`, which `pod_image` names."""

    finds_leaks: bool = False
    """Whether `leaks` sees all that volumes may leave behind."""

    def __init__(self, settings: Settings) -> None:
        """Asks nobody anything: `settings` may be of a run that makes no cluster."""
        self.settings = settings
        self.origins: Mapping[str, str] = {}  # of each image, once it is in docker
        self._nodes: KindCluster | None = None

    @classmethod
    def check(cls, settings: Settings) -> None:
        """See that the versions and manifests asked for can be, and fit each other. Raises `UsageError`."""
        return

    @classmethod
    def check_driver(cls, settings: Settings) -> None:
        """See that the CSI driver asked for can serve on this machine. Raises `UsageError`."""
        return

    @property
    @abstractmethod
    def images(self) -> tuple[str, ...]:
        """The images that every worker is to have for it."""

    @property
    def pod_image(self) -> str:
        """The image of `pods_run`."""
        return self.pods_run

    @property
    @abstractmethod
    def storage_classes(self) -> tuple[str, ...]:
        """The names of its StorageClasses, the default one first."""

    def guard(self, wanted: Any) -> None:
        """Refuse an object that is to be applied and that this system can never serve. Raises `UsageError`."""
        return

    def versions(self) -> Mapping[str, str]:
        """What the report says of its parts."""
        return {}

    @abstractmethod
    def identity(self, nodes: KindCluster) -> Mapping[str, Any]:
        """All that makes it what it is on such nodes, beside images: a saved cluster of another identity is not used.
        JSON-able."""

    @property
    def nodes(self) -> KindCluster:
        """The nodes that it is deployed on."""
        if self._nodes is None:
            raise InfrastructureError(
                f"{self.name} has not been deployed",
                hint="the fixture `cluster` deploys it; `kind_cluster` has nodes alone",
            )
        return self._nodes

    @property
    def deployed(self) -> bool:
        return self._nodes is not None

    def found_on(self, nodes: KindCluster, phase: Phase) -> None:
        """Take it for deployed: nodes are restored that were saved with it."""
        self._nodes = nodes

    def forget(self) -> None:
        """Take it for not deployed: the nodes are gone."""
        self._nodes = None

    @abstractmethod
    def deploy(self, nodes: KindCluster, phase: Phase, milestone: Milestone) -> None:
        """From bare nodes to volumes that can be mounted, and nothing that would still settle; raises
        `DeadlineExceeded`, `UsageError`."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Its namespaces, all pods of which are to be Ready."""
        return ()

    def diagnostics(self) -> Mapping[str, Callable[[], str]]:
        """What it has to say for itself in a log bundle: each file by its name, with what reads it.

        That may raise `NotYet` or `RookeryError`, which is then what the file says.
        """
        return {}

    def crashes(self) -> Sequence[tuple[float, str, str]]:
        """The crashes of its daemons that it has on record, of whatever time: when (Unix seconds), of which daemon, and
        by what name it is found there.

        Raises `NotYet` or `RookeryError` while it does not answer.
        """
        return ()

    def lanes(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        """What the lanes of its parts begin with on a scenario's page: by kind and name ("OSD", "osd.1"), the state of
        each now and what more there is to be said.

        Raises `NotYet` or `RookeryError` while it does not answer.
        """
        return {}

    def running(self) -> Mapping[str, str]:
        """Condition: it can say what runs of it, beside containers: each by its name, with what changes when it starts
        anew."""
        return {}

    def require_savable(self) -> None:
        """Raises `UsageError` where a copy of the nodes' disks would not be what is on its volumes."""
        return

    @abstractmethod
    def baseline(self) -> Baseline:
        """Condition: what it is now, for `recovered`, `healthy` and `restored` to compare with."""

    @abstractmethod
    def assert_healthy(self) -> None:
        """Condition: nothing is amiss with it."""

    def accept_warnings(self) -> None:
        """Have it not warn of what the harness accepts."""
        return

    @abstractmethod
    def recovered(self, baseline: Baseline) -> Condition[None]:
        """It is back as what it was, nodes and all, by evidence newer than the kill of every node that it is asked
        `since`. Its steps are milestones (`all_of(…, milestones=True)`). Ends with `AnotherCluster` if another one came
        back."""

    @abstractmethod
    def healthy(self, baseline: Baseline) -> Condition[None]:
        """All of it is there again after a fault that took some, or none; ends with `AnotherCluster` as `recovered`
        does."""

    @abstractmethod
    def restored(self, baseline: Baseline) -> Condition[None]:
        """It is `recovered`, and a scenario may use it: healthy, every pod Ready by newer containers."""

    @property
    def unaltered(self) -> bool:
        """Whether it is as it was deployed; once it was upgraded, rolled back or not, its cluster is not used again."""
        return True

    def images_after(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        """The images that every worker is to have for an upgrade to these versions, by the names that `versions` has.

        Raises `UsageError` for versions to which it cannot be upgraded from what it is.
        """
        self._lacks("version to upgrade")

    def upgrade(
        self, versions: Mapping[str, str], phase: Phase, milestone: Milestone, *, healthy_first: bool = True
    ) -> Condition[None]:
        """Begin an upgrade to these versions; the condition is that it is done, and tells `milestone` of each step when
        that has held, once; of the last one as `DONE`.

        Without `healthy_first` it is begun without the look at its health that the vendor's procedure asks for.
        Raises `UsageError` before anything is touched, as `images_after` does, and `DeadlineExceeded`.
        """
        self._lacks("version to upgrade")

    def require_roll_back(self) -> None:
        """Raise `UsageError` where nothing was upgraded, or what was cannot go back."""
        self._lacks("version to roll back")

    def roll_back(self, phase: Phase, milestone: Milestone) -> Condition[None]:
        """Begin to bring it back to the version before its last upgrade; the condition is that it is done, and tells
        `milestone` as an upgrade does.

        Raises `UsageError` before anything is touched, as `require_roll_back` does.
        """
        self._lacks("version to roll back")

    def parts(self) -> Mapping[str, Callable[[], Fingerprint]]:
        """What a fingerprint has of it beside the API's and the nodes' parts: each by name, with what collects it."""
        return {}

    def undo(self, baseline: Fingerprint, differences: Sequence[Difference]) -> list[str]:
        """Ask for what it knows to undo of these; returns what was asked for, in words, and waits for none of it."""
        return []

    def leaks(self, also: Expected = NOTHING) -> list[Finding]:
        """What is left of volumes that the API does not know, and what is gone of those that it knows or of `also`."""
        return []

    @abstractmethod
    def leaked_volumes(self, claims: Collection[str]) -> list[str]:
        """What there is of volumes beside those of these claims (UIDs), in words; what can be cleaned is."""

    @property
    def rook(self) -> Rook:
        """Rook."""
        self._lacks("Rook")

    @property
    def catalogue(self) -> Catalogue:
        """Its images by what they are for."""
        self._lacks("images of its own")

    @property
    def driver_pods(self) -> DriverPods:
        """The pods of its CSI driver."""
        self._lacks("CSI driver")

    def _lacks(self, what: str) -> NoReturn:
        raise UsageError(f"--storage {self.name} has no {what}", hint="--storage rook")


def names() -> list[str]:
    """The storage systems that are installed."""
    return sorted({*OWN, *(point.name for point in entry_points(group=GROUP))})


def system_named(name: str) -> type[StorageSystem]:
    """The class of a storage system. Raises `UsageError` for one that is not installed, or that cannot be loaded."""
    if name in OWN:
        module, _, attribute = OWN[name].partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _loaded(point)
    raise UsageError(f"--storage {name}: no such storage system", hint=f"one of {', '.join(names())}")


def _loaded(point: Any) -> type[StorageSystem]:
    try:
        found = point.load()
    except Exception as error:  # of somebody else's code
        raise UsageError(
            f"--storage {point.name}: {point.value} cannot be loaded: {error}",
            hint="fix or uninstall what registers it",
        ) from error
    if not (isinstance(found, type) and issubclass(found, StorageSystem)):
        raise UsageError(f"--storage {point.name}: {point.value} is no StorageSystem", hint="docs/storage-systems.md")
    return found
