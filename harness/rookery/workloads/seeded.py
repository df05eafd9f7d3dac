"""A workload deployed with rows in it: the state of a cluster that scenarios begin in."""

from __future__ import annotations

from typing import Any

from rookery.history.recorder import Recorder
from rookery.kube import Kube
from rookery.report.results import Results
from rookery.workloads.registry import Kind
from rookery.workloads.workload import SEED_TABLE, new


def deploy(
    kind: Kind, kube: Kube, results: Results, *, storage_class: str, version: str | None = None, **options: Any
) -> None:
    """Deploy the workload, and have as many rows acknowledged as its kind's `seed_rows` says.

    Raises as `Workload.ready` and `Workload.fill_seed`.
    """
    with Recorder(results.path("seed.jsonl")) as record:
        workload = new(
            kind, kube, storage_class=storage_class, record=record, version=version, table=SEED_TABLE, **options
        )
        with results.phase("workload deployed"):
            workload.deploy()
            workload.ready.wait()
        try:
            with results.phase("rows written"):
                workload.fill_seed(kind.seed_rows)
        finally:
            workload.close()
