"""The log bundle of one moment: what cluster, nodes and storage have to say, and an index for whoever has none of it.

Like what Kubernetes has to say (`rookery.kube.bundle`) it is gathered from clusters in trouble, so nothing of it
raises: what could not be had is in its file's place, in words.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timezone
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from rookery.cluster import nodes as node_containers
from rookery.errors import RookeryError, in_words
from rookery.kube import Kube, bundle
from rookery.kube.conditions import unix_time
from rookery.report.logs import fair_share, newest
from rookery.waiting import NotYet

INDEX = "index.txt"
STORAGE = "storage"  # the folder of what the storage system says
LARGEST = 4 * 2**20  # bytes of one of its files
SMALL = 2**20  # bytes of all files that are gathered around a fault
MAX_IN_FLIGHT = 4  # steps around a fault: each mostly waits, and two cores have the scenario's work to do

# What there may be, in the order of the index, and why somebody would look there.
WHAT = (
    ("logs/*", "logs of containers, by namespace and pod; .previous.log is of the run before the last restart"),
    ("objects/events-*.jsonl", "Kubernetes' events of a namespace, the oldest first; those of nodes are in default"),
    ("objects/*.jsonl", "objects of the API, one a line: their status is what controllers and kubelets told last"),
    (f"{STORAGE}/ceph-report.json", "all that the mons know: health, maps of mons, OSDs and PGs, pools, CRUSH, auth"),
    (f"{STORAGE}/ceph-log.json", "the newest lines of Ceph's cluster log: health changes, OSDs failing, elections"),
    (f"{STORAGE}/ceph-crashes.json", "crashes of Ceph's daemons"),
    (f"{STORAGE}/custom-resources.json", "Rook's own objects: what the operator was told, and their status"),
    (f"{STORAGE}/*", "what the storage system says of itself"),
    ("*.journal", "the newest lines of a node's journal (UTC): kubelet, containerd, kernel"),
    ("*.node.txt", "a node's loop devices, mounts, memory, and tasks in uninterruptible sleep"),
    (bundle.ERRORS, "what could not be had, and why"),
)


def gather(
    kube: Kube,
    node_names: Iterable[str],
    diagnostics: Mapping[str, Callable[[], str]],
    folder: Path,
    *,
    budget_bytes: int,
) -> None:
    """Fill the folder. `diagnostics` has what the storage system says, by file.

    `budget_bytes` is for objects and logs.
    """
    names = list(node_names)
    with ThreadPoolExecutor() as pool:
        journals = pool.map(node_containers.journal, names)
        states = pool.map(node_containers.state, names)
        answers = pool.map(_answer, diagnostics.values())
        bundle.collect(kube, folder, budget_bytes=budget_bytes)
        for name, journal, state in zip(names, journals, states, strict=True):
            _write(folder / f"{name}.journal", _bytes(journal), LARGEST)
            _write(folder / f"{name}.node.txt", _bytes(state), LARGEST)
        for file, answer in zip(diagnostics, answers, strict=True):
            _write(folder / STORAGE / file, _bytes(answer), LARGEST)
    _write(folder / INDEX, _bytes(index(folder)), LARGEST)


Step = Callable[[], Mapping[str, bytes]]  # gives what is to be written by file


def gather_small(
    kube: Kube,
    node_names: Iterable[str],
    diagnostics: Mapping[str, Callable[[], str]],
    folder: Path,
    *,
    since: float,
    within: float,
) -> None:
    """Fill the folder with what is small, for about `within` seconds at most: events and journals that are newer than
    `since` (Unix seconds), the nodes' state, and what the storage says.

    What has not come by then is left out, and the index says so. Nothing is asked for while the API server does not
    answer. Raises nothing.
    """
    begin = time.monotonic()

    def left() -> float:
        return max(begin + within - time.monotonic(), 0.0)

    found: dict[str, bytes] = {}
    pool = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="around a fault")
    try:
        if _is_true(pool.submit(kube.healthy), left()) is not True:
            missing = ["everything: the API server did not answer"]
        else:
            found, missing = _in_time(pool, _small_steps(kube, node_names, diagnostics, since, left), left)
    finally:  # a step that hangs has a deadline of its own, and nobody waits for that
        pool.shutdown(wait=False, cancel_futures=True)
    share = fair_share(map(len, found.values()), SMALL)
    for file, data in found.items():
        _write(folder / file, data, share)
    left_out = [f"left out: {each}" for each in missing]
    took = f"Took {time.monotonic() - begin:.1f} s."
    _write(folder / INDEX, _bytes(index(folder) + "\n".join(["", took, *left_out]) + "\n"), LARGEST)


def _small_steps(
    kube: Kube,
    node_names: Iterable[str],
    diagnostics: Mapping[str, Callable[[], str]],
    since: float,
    left: Callable[[], float],
) -> dict[str, Step]:
    """In the order in which they are begun: what is asked for last is the first to be left out."""

    def of_node(name: str) -> Mapping[str, bytes]:
        state, journal = node_containers.state_and_journal(name, since, timeout=max(left(), 0.1))
        return {f"{name}.node.txt": _bytes(state), f"{name}.journal": _bytes(journal)}

    def answer(file: str, ask: Callable[[], str]) -> Mapping[str, bytes]:
        return {f"{STORAGE}/{file}": _bytes(ask())}

    return {
        "events": partial(_events, kube, since),
        **{name: partial(of_node, name) for name in node_names},
        **{f"{STORAGE}/{file}": partial(answer, file, ask) for file, ask in diagnostics.items()},
    }


def _events(kube: Kube, since: float) -> Mapping[str, bytes]:
    newer = [each for each in kube.list("Event", api_version="v1") if unix_time(bundle.last_seen(each)) >= since]
    return {
        f"objects/events-{namespace}.jsonl": _bytes("".join(json.dumps(each, sort_keys=True) + "\n" for each in events))
        for namespace, events in bundle.by_namespace(newer).items()
    }


def _in_time(
    pool: ThreadPoolExecutor, steps: Mapping[str, Step], left: Callable[[], float]
) -> tuple[dict[str, bytes], list[str]]:
    """What those give that end in time, and why others give nothing."""
    running = {what: pool.submit(step) for what, step in steps.items()}
    wait(running.values(), timeout=left())
    found: dict[str, bytes] = {}
    missing = []
    for what, future in running.items():
        if not future.done():
            missing.append(f"{what}: out of time")
        elif error := future.exception():
            missing.append(f"{what}: {type(error).__name__}: {error}")
        else:
            found.update(future.result())
    return found, missing


def _is_true(asked: Future[bool], within: float) -> bool:
    """Whether it is so, as far as that is known in time."""
    wait([asked], timeout=within)
    return asked.done() and asked.exception() is None and asked.result()


def index(folder: Path) -> str:
    """What is in it and why, for people."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    rows, left = [], files
    for pattern, why in WHAT:
        of_it = [file for file in left if fnmatch(file, pattern)]
        left = [file for file in left if file not in of_it]
        if of_it:
            what = of_it[0] if len(of_it) == 1 else f"{pattern} ({len(of_it)} files)"
            rows.append(f"{what}\n    {why}")
    moment = re.sub(r"^\d+-", "", folder.name).replace("-", " ")
    began = f"Gathered {moment}, until {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}."
    return "\n".join([began, "Files that were too long have lost their oldest lines.", "", *rows]) + "\n"


def _answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (RookeryError, NotYet) as error:
        return f"not to be had: {in_words(error)}\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _write(path: Path, data: bytes, limit: int) -> None:
    with suppress(OSError):  # a full disk is told elsewhere
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(newest(data, limit))
