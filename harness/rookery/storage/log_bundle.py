"""The log bundle of one moment: what cluster, nodes and storage have to say, and an index for whoever has none of it.

Like what Kubernetes has to say (`rookery.kube.bundle`) it is gathered from clusters in trouble, so nothing of it
raises: what could not be had is in its file's place, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path

from rookery.cluster import nodes as node_containers
from rookery.errors import RookeryError
from rookery.kube import Kube, bundle
from rookery.report.logs import newest
from rookery.waiting import NotYet

INDEX = "index.txt"
STORAGE = "storage"  # the folder of what the storage system says
LARGEST = 4 * 2**20  # bytes of one of its files

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
    ("*.journal", "the newest lines of a node's journal: kubelet, containerd, kernel"),
    ("*.node.txt", "a node's loop devices, mounts, memory, and tasks in uninterruptible sleep"),
    (bundle.ERRORS, "what could not be had, and why"),
)


def gather(
    kube: Kube, node_names: Iterable[str], said: Mapping[str, Callable[[], str]], folder: Path, *, budget_bytes: int
) -> None:
    """Fill the folder. `said` has what the storage system says, by file; `budget_bytes` is for objects and logs."""
    names = list(node_names)
    with ThreadPoolExecutor() as pool:
        journals = pool.map(node_containers.journal, names)
        states = pool.map(node_containers.state, names)
        answers = pool.map(_answer, said.values())
        bundle.collect(kube, folder, budget_bytes=budget_bytes)
        for name, journal, state in zip(names, journals, states, strict=True):
            _write(folder / f"{name}.journal", journal)
            _write(folder / f"{name}.node.txt", state)
        for file, answer in zip(said, answers, strict=True):
            _write(folder / STORAGE / file, answer)
    _write(folder / INDEX, index(folder))


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
    began = f"Gathered {folder.name.replace('-', ' ')}, until {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}."
    return "\n".join([began, "Files that were too long have lost their oldest lines.", "", *rows]) + "\n"


def _answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (RookeryError, NotYet) as error:
        return f"not to be had: {error}\n"


def _write(path: Path, text: str) -> None:
    with suppress(OSError):  # a full disk is told elsewhere
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(newest(text.encode("utf-8", "replace"), LARGEST))
