"""Runs of scenarios by pytester, on a cluster that is played; and what they have left."""

import json
from types import SimpleNamespace
from typing import ClassVar
from xml.etree import ElementTree

from playing import plays

# Imported here with all that it imports: pytester forgets what was first imported within a run, and the next run would
# have modules of its own, beside those that a test has changed.
from rookery.plugin import fixtures, running  # noqa: F401
from rookery.storage.baseline import Cleaning, Fingerprint
from rookery.storage.cluster import StorageCluster
from rookery.waiting import Condition, NotYet


@plays(StorageCluster)
class Cluster:
    """Comes up, or fails to with `trouble`; going down may fail as well. Every phase is one thing that was done."""

    trouble = None
    trouble_at_end = None
    kube = None
    driver = "userspace"
    storage = SimpleNamespace(finds_leaks=True, namespaces=(), unaltered=True, crashes=list)
    storage_class = "fast"
    running = True
    left: ClassVar[list[str]] = []  # what the next scenario leaves behind
    cleanings: ClassVar[list[Cleaning]] = []  # what is found before each next scenario
    stored: ClassVar[set[str]] = set()

    def __init__(self, settings, *, slot=0, slots=1, images=()):
        self.ready = False
        self.started = 0.0
        self.saved = SimpleNamespace(find=self._find, save=self._save)
        self.nodes = SimpleNamespace(disks={}, name=settings.cluster_name, node_names=[])

    def prepare(self, results, *, storage):
        pass

    def _find(self, name, *, storage):
        return SimpleNamespace(name=name) if name in self.stored else None

    def bring_up(self, results):
        with results.phase("kind cluster created"):
            if self.trouble:
                raise self.trouble
        self.ready = True

    def require_images(self, references):
        pass

    def _save(self, name, results):
        self.stored.add(name)

    def restore(self, saved, results):
        results.add_phase(f"{saved.name} restored", 0, 0)

    def fingerprint(self):
        return Fingerprint()

    def converge(self, baseline):
        return self.cleanings.pop(0) if self.cleanings else Cleaning(0.9)

    def note(self, results):
        results.record(driver="fake")

    def says(self, line):
        """An OSD of it says that; see the fixture `cluster`."""
        self.kube = SimpleNamespace(said=line)

    def leaks(self):
        return self.left

    def no_leaks(self):
        def ask():
            if self.left:
                raise NotYet("\n".join(self.left))

        return Condition("no leak of a volume", ask, within=0, every=1)

    def finish_gathering(self):
        pass

    def gather_logs(self, results, moment):
        (results.logs_folder(moment) / "node.journal").write_text("as it was", encoding="utf-8")

    def delete(self):
        if self.trouble_at_end and self.ready:
            raise self.trouble_at_end


def scenario_folders(pytester):
    """By their names; that of the scenario which has run second in a run with the same name comes after."""
    return sorted(path.parent for path in pytester.path.glob("results/2*/*/timings.json"))


def folder(pytester):
    (found,) = scenario_folders(pytester)
    return found


def phases(of):
    return [phase["name"] for phase in json.loads((of / "timings.json").read_text(encoding="utf-8"))["phases"]]


def outcomes(pytester):
    """The outcome by timings.json, by report.json, and the element of junit.xml that tells it."""
    found = folder(pytester)
    timings, report = (
        json.loads((found / name).read_text(encoding="utf-8")) for name in ("timings.json", "report.json")
    )
    cases = ElementTree.fromstring((found.parent / "junit.xml").read_bytes()).iter("testcase")
    told = [element.tag for case in cases for element in case if element.tag in ("failure", "error", "skipped")]
    trouble = told[0] if told else None
    return timings["outcome"], report["outcome"], trouble


def report_of(pytester):
    return json.loads((folder(pytester) / "report.json").read_text(encoding="utf-8"))


def logs(pytester):
    return sorted(path.name for path in (folder(pytester) / "logs").glob("*"))


def timings(pytester):
    return json.loads((folder(pytester) / "timings.json").read_text(encoding="utf-8"))
