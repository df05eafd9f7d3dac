"""Workloads are found where they are; what follows from a `KIND` alone."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from rookery.errors import UsageError
from rookery.settings import Settings
from rookery.settings_check import check
from rookery.storage.states import workload_ready
from rookery.workloads import registry
from rookery.workloads.registry import Kind, kinds
from rookery.workloads.workload import Workload

OWN = Kind("rows", title="Rows", image="rows", version="1", to_load="rookery.workloads.etcd.workload:Etcd")


@pytest.fixture
def registered(monkeypatch):
    """Registers kinds as another distribution does."""
    kinds.cache_clear()
    yield lambda *those: monkeypatch.setattr(
        registry, "entry_points", lambda *, group: [SimpleNamespace(load=lambda kind=kind: kind) for kind in those]
    )
    kinds.cache_clear()


def test_those_of_the_package_are_found_and_each_can_be_loaded():
    assert list(kinds()) == ["cassandra", "etcd", "postgresql"]
    for kind in kinds().values():
        assert issubclass(kind.load(), Workload)
        assert kind.load().kind is kind


def test_one_of_another_distribution_is_found(registered):
    registered(OWN)
    assert kinds()["rows"] is OWN


def test_two_of_one_name_are_refused(registered):
    registered(OWN, Kind("etcd", title="Another", image="etcd", version="1", to_load=""))
    with pytest.raises(UsageError, match="two workloads are called etcd"):
        kinds()


def test_no_client_library_is_imported_before_a_workload_is_asked_for():
    code = (
        "import sys; from rookery.workloads import registry; registry.kinds(); "
        "sys.exit(bool({'cassandra', 'psycopg', 'urllib3', 'kubernetes'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_has_its_version_as_a_setting():
    assert Settings().workloads == {name: kind.version for name, kind in kinds().items()}
    settings = Settings.from_sources({"etcd": "3.6.1"}, environment={"ROOKERY_CASSANDRA": "4.0.17"})
    assert (settings.workloads["etcd"], settings.workloads["cassandra"]) == ("3.6.1", "4.0.17")
    assert kinds()["etcd"].image_of("3.6.1") == "localhost/rookery/etcd:3.6.1"
    with pytest.raises(UsageError, match=r"--etcd '3 6': no tag"):
        check(Settings(etcd="3 6"), only=["etcd"])


def test_an_option_that_it_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(UsageError, match="Cassandra has no option sync") as caught:
        kinds()["cassandra"].options_of({"sync": "batch"})
    assert "commitlog_sync" in caught.value.hint


def test_each_way_of_deploying_it_is_another_state_made_on_the_same():
    kind = kinds()["cassandra"]
    ways = [
        workload_ready(kind, commitlog_sync="batch"),
        workload_ready(kind, commitlog_sync="periodic"),
        workload_ready(kind, commitlog_sync="batch", one_by_one=True),
    ]
    names = ["cassandra-batch-ready", "cassandra-periodic-ready", "cassandra-batch-one-by-one-ready"]
    assert [state.name for state in ways] == names
    for state in ways:
        assert [each.name for each in state.bases] == [state.name, "storage-ready"]
        assert [each.saved for each in state.bases] == [False, True]
        assert state.images == (kind.image_of(),)
