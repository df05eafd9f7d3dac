"""Whether a scenario's cluster has said what nobody expects: asked once its call and its workloads have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rookery.catalogue import markers
from rookery.errors import RookeryError
from rookery.evidence.gate import Finding, Gate, of_crashes, require, windows_of
from rookery.evidence.gathering import findings
from rookery.plugin.options import settings_of
from rookery.plugin.outcomes import outcome_of
from rookery.report.results import Results
from rookery.storage.cluster import StorageCluster
from rookery.waiting import NotYet


def require_nothing_unexpected(
    item: pytest.Item, cluster: StorageCluster, results: Results, calls: Mapping[str, Any], *, since: float
) -> None:
    """Where `--unexpected` asks for it, note what the cluster has said since then (Unix seconds) that nobody expects.

    Raises it as `UnexpectedEvidence` of a scenario that has passed, and that the option is about.

    A cluster that is off, or does not answer, is not asked: that alone is no finding.
    """
    choice, call = settings_of(item.config).unexpected, calls.get("call")
    if choice == "none":
        return
    error = call.excinfo.value if call and call.excinfo else None
    if call is None or outcome_of(error, at_setup=False) == "skipped" or not cluster.running:
        return
    codes, texts = markers.expected(item)
    try:
        with results.phase("evidence looked through"):
            found = findings(cluster.kube, cluster.storage.namespaces, cluster.nodes.node_names, since=since)
            found += _crashes(cluster, results, since)
    except (RookeryError, NotYet, OSError) as unread:
        results.record(unexpected_not_looked_for=f"{type(unread).__name__}: {unread}")
        return
    unexpected = Gate(codes=codes, texts=texts).unexpected(found, windows_of(results.noted("faults", [])))
    results.record(unexpected=[str(each) for each in unexpected])
    if error is None and (choice == "all" or (choice == "core" and markers.tier(item) == markers.CORE)):
        require(unexpected)


def _crashes(cluster: StorageCluster, results: Results, since: float) -> list[Finding]:
    """Those that the storage has on record; where it does not answer, or in another form, that is noted, and the rest
    counts."""
    try:
        return of_crashes(cluster.storage.crashes(), since=since)
    except (RookeryError, NotYet, ValueError, KeyError) as unread:
        results.record(unexpected_not_looked_for=f"crashes: {type(unread).__name__}: {unread}")
        return []
