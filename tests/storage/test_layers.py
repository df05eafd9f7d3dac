"""What a layer makes, with the workload faked."""

from types import SimpleNamespace

import pytest
from rookery.errors import InfrastructureError
from rookery.report.results import Results
from rookery.storage import states as layers
from rookery.storage.states import SEED_ROWS, cassandra_ready
from rookery.waiting import Condition


@pytest.fixture
def workload(monkeypatch):
    """Cassandra, which acknowledges so many rows of each round as `acknowledges` has, then all, or fails by raising it.

    `asked` has how many rows were to be written in each, `kept` the keys that were noted as acknowledged.
    """
    workload = SimpleNamespace(acknowledges=[], asked=[], did=[], kept=None)

    def write(count):
        workload.asked.append(count)
        answer = workload.acknowledges.pop(0) if workload.acknowledges else count
        if isinstance(answer, Exception):
            raise answer
        for number in range(count):
            begin = workload.record.invoke(
                "write", process=workload.record.new_process(), key=workload.record.new_key()
            )
            workload.record.ok(begin) if number < answer else workload.record.info(begin, "given up")
        return answer

    workload.write = write
    for name in ("deploy", "close"):
        setattr(workload, name, lambda name=name: workload.did.append(name))
    workload.ready = Condition("ready", lambda: workload.did.append("ready"), within=0)
    workload.keep_seed = lambda keys: setattr(workload, "kept", sorted(keys))

    def cassandra(kube, *, record, **_):
        workload.record = record
        return workload

    monkeypatch.setattr(layers, "Cassandra", cassandra)
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


def test_rows_that_were_not_acknowledged_have_others_in_their_place(workload, make):
    workload.acknowledges = [SEED_ROWS - 2, 1]
    make()
    assert workload.asked == [SEED_ROWS, 2, 1]
    given_up = {SEED_ROWS - 2, SEED_ROWS - 1, SEED_ROWS + 1}
    assert workload.kept == sorted(set(range(SEED_ROWS + 3)) - given_up)


@pytest.mark.parametrize("second", [0, InfrastructureError("no host available")])
def test_a_cluster_that_acknowledges_no_more_is_no_such_layer(workload, make, second):
    workload.acknowledges = [SEED_ROWS - 1, second]
    told = f"{SEED_ROWS - 1} of {SEED_ROWS} rows were acknowledged, and no more|no host available"
    with pytest.raises(InfrastructureError, match=told):
        make()
    assert workload.did == ["images", "deploy", "ready", "close"]
