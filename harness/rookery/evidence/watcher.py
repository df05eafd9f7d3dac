"""One thread a cluster that writes down what becomes of it while a scenario runs: events.jsonl.

It asks once what there is of Ceph, and nothing again and again: the API server tells changes of nodes, pods, volumes
and events, and Ceph's cluster log comes by a mon's log. Whatever is down is looked for again in silence, and has no say
in the scenario.
"""

from __future__ import annotations

import json
import os
import selectors
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rookery.errors import RookeryError
from rookery.evidence.cluster_log import Entry, entry
from rookery.evidence.happenings import GONE, Ceph, Happening, of_attachment, of_event, of_node, of_pod
from rookery.kube import Kube
from rookery.kube.objects import Object, value_of
from rookery.kube.streams import Stream
from rookery.report.happened import ANSWERS, API_SERVER, FILE, UNANSWERED, WATCH
from rookery.report.results import Results
from rookery.storage.cluster import StorageCluster

SCHEMA = "rookery.events/1"
OF_OTHER = "events-other.jsonl"  # of a scenario's second cluster
REOPENED_AFTER_S = 2.0  # before a stream that has ended is asked for again
WATCH_S = 300  # of one watch; then it is asked for again
INITIAL_LIST_S = 5.0  # after its begin, by which a watch has listed all objects that there are
SILENT_S = 15.0  # the mgr reports PGs every two seconds: a mon that logs nothing for so long is not asked further
MOST = 20_000  # lines of events.jsonl
STOPPED_S = 5.0

_APP_MON = "rook-ceph-mon"

Lanes = Mapping[tuple[str, str], tuple[str, str]]  # by kind and name: state and text


class _Source(ABC):
    """One stream, and what its lines mean."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.asked = self.heard = 0.0  # `time.monotonic()`

    @abstractmethod
    def open(self, kube: Kube) -> Stream | None:
        """Ask for it; None where there is nothing yet to be asked."""

    @abstractmethod
    def of(self, line: bytes, at: float) -> Iterator[Happening]:
        """What one line tells."""

    def due(self, at: float) -> Iterator[Happening]:
        """What follows from that nothing was told."""
        yield from ()

    def stale(self) -> bool:
        """Whether another one had better be asked for."""
        return False


class _Objects(_Source):
    """All objects of a kind; a watch tells those that there are, and then every change."""

    def __init__(self, path: str, happening: Callable[[Object, float], Happening | None]) -> None:
        super().__init__()
        self._path, self._happening = path, happening
        self._states: dict[str, Happening] = {}  # by uid
        self._listed: set[str] | None = None  # uids since the watch began; None once it has listed all

    def open(self, kube: Kube) -> Stream:
        self._listed = set()
        return kube.stream(self._path, [("watch", "true"), ("timeoutSeconds", str(WATCH_S))])

    def of(self, line: bytes, at: float) -> Iterator[Happening]:
        yield from self._changed(json.loads(line), at)

    def _changed(self, change: Object, at: float) -> Iterator[Happening]:
        found = change.get("object") or {}
        uid = value_of(found, "metadata", "uid", default="")
        if change.get("type") not in ("ADDED", "MODIFIED", "DELETED") or not uid:
            return  # a bookmark, or an error: the stream ends then
        if self._listed is not None:
            self._listed.add(uid)
        if change["type"] == "DELETED":
            yield from self._gone(uid, at)
        elif (now := self._happening(found, at)) is not None:
            before = self._states.get(uid)
            self._states[uid] = now
            if before is None or (before.state, before.text) != (now.state, now.text):
                yield now

    def due(self, at: float) -> Iterator[Happening]:
        """What went while nobody watched."""
        if self._listed is not None and time.monotonic() > self.asked + INITIAL_LIST_S:
            listed, self._listed = self._listed, None
            for uid in self._states.keys() - listed:
                yield from self._gone(uid, at)

    def _gone(self, uid: str, at: float) -> Iterator[Happening]:
        before = self._states.pop(uid, None)
        if before is not None and before.kind != "event":  # an event that expires says nothing
            yield Happening(at, before.kind, before.name, GONE)


class _Pods(_Objects):
    """Also knows where the mons are."""

    def __init__(self, namespace: str) -> None:
        super().__init__("/api/v1/pods", of_pod)
        self._namespace = namespace
        self.mons: dict[str, None] = {}  # names of pods

    def _changed(self, change: Object, at: float) -> Iterator[Happening]:
        metadata = value_of(change, "object", "metadata", default={})
        if value_of(metadata, "labels", "app") == _APP_MON and metadata.get("namespace") == self._namespace:
            if change.get("type") == "DELETED":
                self.mons.pop(metadata["name"], None)
            else:
                self.mons[metadata["name"]] = None
        yield from super()._changed(change, at)


class _ClusterLog(_Source):
    """The log of one mon, and of the next one when that is silent."""

    def __init__(self, namespace: str, pods: _Pods, since: float) -> None:
        super().__init__()
        self._namespace, self._pods, self._since = namespace, pods, since
        self._ceph = Ceph()
        self._seen: set[Entry] = set()
        self._newest = since
        self._number = 0

    def open(self, kube: Kube) -> Stream | None:
        mons = list(self._pods.mons)
        if not mons:
            return None
        self._number += 1
        path = f"/api/v1/namespaces/{self._namespace}/pods/{mons[self._number % len(mons)]}/log"
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._newest - 1))
        return kube.stream(path, [("container", "mon"), ("follow", "true"), ("sinceTime", since)])

    def of(self, line: bytes, at: float) -> Iterator[Happening]:
        found = entry(line.decode(errors="replace"))
        if found is None or found.at < self._since or found in self._seen:
            return
        self._seen.add(found)
        self._newest = max(self._newest, found.at)
        yield from self._ceph.of(found)

    def stale(self) -> bool:
        return time.monotonic() > self.heard + SILENT_S

    def began_with(self, lanes: Lanes) -> Iterator[Happening]:
        """What Ceph's parts were when the watch began."""
        return self._ceph.began_with(lanes, self._since)

    def lost(self) -> None:
        """Nobody can hear of it for a while."""
        self._ceph.lost()


class Watcher:
    """Watches from `start` to `stop`. `kube` is asked for each time: a cluster that is restored has another API."""

    def __init__(
        self, kube: Callable[[], Kube], namespace: str, path: Path, lanes: Callable[[], Lanes] = lambda: {}
    ) -> None:
        """`lanes` tells what the storage's parts are now, which nobody waits for."""
        self._kube, self._path, self._lanes = kube, path, lanes
        self._initial: Lanes = {}  # at the beginning, until it is written
        self._began = time.time()
        pods = _Pods(namespace)
        self._nodes = _Objects("/api/v1/nodes", of_node)  # by whose stream it is known whether the API server answers
        self._cluster_log = _ClusterLog(namespace, pods, self._began)
        self._sources: list[_Source] = [
            self._nodes,
            pods,
            _Objects("/apis/storage.k8s.io/v1/volumeattachments", of_attachment),
            _Objects("/api/v1/events", lambda event, _at: of_event(event, self._began)),
            self._cluster_log,
        ]
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._lost = 0.0  # when that stream ended (Unix seconds)
        self._unwatched = False
        self.written = self.interruptions = 0
        self.cpu_s = self.seconds = 0.0  # of its thread, once that has ended
        self.error = ""

    def start(self) -> None:
        self._thread.start()
        threading.Thread(target=self._ask, name="watcher's question", daemon=True).start()

    def _ask(self) -> None:
        with suppress(Exception):  # there is nothing to be told then, and no scenario fails for it
            self._initial = self._lanes()

    def stop(self) -> None:
        """End the thread; it is left alone where it does not end within some seconds."""
        self._stopping = True
        os.write(self._woken, b".")
        self._thread.join(STOPPED_S)
        if not self._thread.is_alive():  # else it may still wait for it
            os.close(self._wake)
            os.close(self._woken)

    def figures(self) -> dict[str, Any]:
        """What it cost, for report.json."""
        share = self.cpu_s / self.seconds if self.seconds else None
        return {
            "cpu_s": round(self.cpu_s, 2),
            "seconds": round(self.seconds, 1),
            "share_of_a_core": None if share is None else round(share, 4),
            "events": self.written,
            "interruptions": self.interruptions,
            **({"error": self.error} if self.error else {}),
        }

    def _run(self) -> None:
        begin = time.monotonic()
        try:
            with self._path.open("x", encoding="utf-8", buffering=1) as file:
                file.write(json.dumps({"schema": SCHEMA, "began": round(self._began, 3)}) + "\n")
                self._selector.register(self._wake, selectors.EVENT_READ)
                while not self._stopping:
                    self._turn(file)
        except Exception as error:  # whatever is wrong with it, no scenario fails for it
            self.error = f"{type(error).__name__}: {error}"
        finally:
            for source in self._sources:
                self._close(source)
            self._selector.close()
            self.cpu_s, self.seconds = time.thread_time(), time.monotonic() - begin

    def _turn(self, file: Any) -> None:
        """Ask for what is not asked for, wait for what comes, and write it down."""
        for source in self._sources:
            if source.stream is None and time.monotonic() > source.asked + REOPENED_AFTER_S:
                self._open(source)
                self._write(file, self._unanswered(source))
        ready = {key.data for key, _ in self._selector.select(timeout=1.0)}
        at = time.time()
        if initial := self._initial:
            self._initial = {}
            self._write(file, self._cluster_log.began_with(initial))
        for source in self._sources:
            if source in ready:
                self._write(file, self._read(source, at))
            self._write(file, source.due(at))
            if source.stream is not None and source.stale():
                self._close(source)

    def _open(self, source: _Source) -> None:
        source.asked = source.heard = time.monotonic()
        with suppress(RookeryError, OSError):
            source.stream = source.open(self._kube())
        if source.stream is not None:
            self._selector.register(source.stream, selectors.EVENT_READ, source)

    def _unanswered(self, source: _Source) -> Iterator[Happening]:
        """From the end of its stream on nobody knows what becomes of nodes and pods, once it cannot be had again."""
        if source is self._nodes and source.stream is None and self._lost and not self._unwatched:
            self._unwatched = True
            self._cluster_log.lost()
            yield Happening(self._lost, WATCH, API_SERVER, UNANSWERED)

    def _close(self, source: _Source) -> None:
        stream, source.stream = source.stream, None
        if stream is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(stream)
            stream.close()

    def _read(self, source: _Source, at: float) -> Iterator[Happening]:
        if source.stream is None:
            return
        try:
            lines = source.stream.lines()
        except RookeryError:
            self.interruptions += 1
            self._close(source)
            if source is self._nodes:
                self._lost = at
            return
        if lines:
            source.heard = time.monotonic()
            if source is self._nodes and self._unwatched:
                self._unwatched = False
                yield Happening(at, WATCH, API_SERVER, ANSWERS)
        for line in lines:
            with suppress(ValueError, KeyError, TypeError, AttributeError):  # no object, or another's layout
                yield from source.of(line, at)

    def _write(self, file: Any, happenings: Iterator[Happening]) -> None:
        for each in happenings:
            if self.written < MOST:
                self.written += 1
                file.write(json.dumps(each.as_dict()) + "\n")


@contextmanager
def watching(cluster: StorageCluster, results: Results, *, other: bool = False) -> Iterator[None]:
    """Watch a cluster while the block lasts, and note in report.json what that cost; `other` is a scenario's second."""
    namespace = next(iter(cluster.storage.namespaces), "")  # in which mons are looked for; local volumes have none
    watcher = Watcher(
        lambda: cluster.kube, namespace, results.path(OF_OTHER if other else FILE), lambda: cluster.storage.lanes()
    )
    watcher.start()
    try:
        yield
    finally:
        watcher.stop()
        if other:
            results.record(watcher_other=watcher.figures())
        else:
            results.record(watcher=watcher.figures())
