"""What a layer makes, with the workload faked."""

from types import SimpleNamespace

import pytest

from harness import layers
from harness.errors import InfrastructureError
from harness.layers import SEED_ROWS, cassandra_ready
from harness.report.results import Results


@pytest.fixture
def workload(monkeypatch):
    """Cassandra, which acknowledges `acknowledges` rows of those it is given, or fails by raising that."""
    workload = SimpleNamespace(acknowledges=SEED_ROWS, did=[])

    def write(count):
        assert count == SEED_ROWS
        if isinstance(workload.acknowledges, Exception):
            raise workload.acknowledges
        return workload.acknowledges

    workload.write = write
    for name in ("deploy", "close"):
        setattr(workload, name, lambda name=name: workload.did.append(name))
    workload.ready = lambda within: workload.did.append("ready")
    monkeypatch.setattr(layers, "Cassandra", lambda kube, **_: workload)
    return workload


@pytest.fixture
def make(tmp_path, workload):
    """Makes the layer on a cluster that is to have its images, and no others, by then."""

    def make(commitlog_sync="batch"):
        layer = cassandra_ready(commitlog_sync)

        def require_images(references):
            assert tuple(references) == layer.images
            workload.did.append("images")

        with Results(tmp_path, "cassandra", say=lambda line: None) as results:
            layer.make(SimpleNamespace(kube=None, require_images=require_images), results)

    return make


def test_rows_are_acknowledged_before_the_cluster_is_in_the_state(workload, make):
    make()
    assert workload.did == ["images", "deploy", "ready", "close"]


def test_each_way_of_deploying_it_is_another_state_made_on_the_same():
    ways = [cassandra_ready("batch"), cassandra_ready("periodic"), cassandra_ready("batch", one_by_one=True)]
    assert len({layer.name for layer in ways}) == 3
    for layer in ways:
        assert [each.name for each in layer.bases] == [layer.name, "rook-ready"]
        assert [each.saved for each in layer.bases] == [False, True]


@pytest.mark.parametrize("acknowledges", [SEED_ROWS - 1, InfrastructureError("no host available")])
def test_a_cluster_without_all_rows_is_no_such_layer(workload, make, acknowledges):
    workload.acknowledges = acknowledges
    told = f"{SEED_ROWS - 1} of {SEED_ROWS} rows were acknowledged|no host available"
    with pytest.raises(InfrastructureError, match=told):
        make()
    assert workload.did == ["images", "deploy", "ready", "close"]
