"""What several tests of the plugin are given."""

import pytest
from pytester_runs import Cluster
from rookery.evidence import gate
from rookery.plugin import expectations, session
from rookery.report.results import Results
from rookery.storage.states import NODES_READY, STORAGE_READY


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(session, "StorageCluster", Cluster)
    monkeypatch.setattr(Cluster, "stored", set())
    for state in (STORAGE_READY, NODES_READY):
        monkeypatch.setitem(vars(state), "make", lambda cluster, results: cluster.bring_up(results))
    monkeypatch.setattr(
        expectations, "findings", lambda kube, *_, since: gate.of_log("osd.0", getattr(kube, "said", ""))
    )
    return Cluster


@pytest.fixture
def scenario(pytester, cluster):
    """Runs a scenario of that body with the fixture `cluster`."""

    def run(body, *options):
        pytester.makepyfile(
            f"import pytest\nfrom rookery.errors import *\ndef test_it(cluster, rookery_results):\n    {body}\n"
        )
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options, no_reraise_ctrlc=True)

    return run


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path, "node_kill") as results:
        yield results
