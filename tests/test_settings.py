from dataclasses import replace

import pytest
from rookery import settings
from rookery.errors import UsageError
from rookery.settings import Settings, option_name, versioned_images
from rookery.workloads.registry import kinds


@pytest.fixture
def pyproject(tmp_path):
    """Writes a pyproject.toml with such a [tool.rookery]."""

    def write(table):
        path = tmp_path / "pyproject.toml"
        path.write_text(f"[tool.other]\nunknown = 1\n[tool.rookery]\n{table}\n", encoding="utf-8")
        return path

    return write


def test_defaults_without_any_source(tmp_path):
    nothing = dict.fromkeys(("cluster_name", "kind_workers", "keep_cluster"))  # an option that was not given is None
    assert Settings.from_sources(nothing, environment={}, pyproject=tmp_path / "none.toml") == Settings()


def test_the_nearer_source_wins(pyproject):
    path = pyproject('cluster-name = "file"\nkind_config = "file"\ndisk_size = "7GiB"')
    environment = {"ROOKERY_CLUSTER_NAME": "environment", "ROOKERY_KIND_CONFIG": "environment"}
    found = Settings.from_sources({"cluster_name": "option"}, environment=environment, pyproject=path)
    assert (found.cluster_name, found.kind_config, found.disk_size) == ("option", "environment", "7GiB")
    assert found.results_dir == Settings().results_dir


def test_the_environment_is_the_process_own_unless_given(monkeypatch):
    monkeypatch.setenv("ROOKERY_RESULTS_DIR", "elsewhere")
    assert Settings.from_sources({}).results_dir == "elsewhere"


def test_an_empty_variable_is_none():
    assert Settings.from_sources({}, environment={"ROOKERY_ROOK": ""}).rook == Settings().rook


def test_an_unknown_key_is_refused(pyproject):
    path = pyproject('rok = "1.18"\nrook = "1.18.8"')
    with pytest.raises(UsageError, match=r"no such setting: rok\n  hint: did you mean rook\?"):
        Settings.from_sources({}, environment={}, pyproject=path)


def test_a_version_without_quotes_is_refused(pyproject):
    with pytest.raises(UsageError, match=r"rook = 1\.18: not text"):
        Settings.from_sources({}, environment={}, pyproject=pyproject("rook = 1.18"))


@pytest.mark.parametrize("name", versioned_images())
@pytest.mark.parametrize("given", ["v19.2.3", "19.2.3"])
def test_versions_are_without_their_v(name, given):
    assert getattr(Settings.from_sources({name: given}, environment={}), name) == "19.2.3"


def test_a_tag_that_only_begins_with_the_letter_keeps_it():
    assert Settings(postgresql="vanilla").postgresql == "vanilla"


def test_a_workload_whose_own_tags_begin_with_it_keeps_it(monkeypatch):
    kind = kinds()["etcd"]
    monkeypatch.setattr(settings, "kinds", lambda: kinds() | {"etcd": replace(kind, version="v3.5.16")})
    assert Settings(etcd="v3.5.17").etcd == "v3.5.17"
    assert Settings(etcd="latest").etcd == "v3.5.16"  # which is the newest here, by the number that its recipe has


def test_a_driver_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="--csi-driver nfs"):
        Settings.from_sources({}, environment={"ROOKERY_CSI_DRIVER": "nfs"})


def test_workers_are_a_number():
    assert Settings.from_sources({"kind_workers": "4"}, environment={}).kind_workers == 4
    with pytest.raises(UsageError, match="--kind-workers many: not a number"):
        Settings.from_sources({"kind_workers": "many"}, environment={})


@pytest.mark.parametrize("name", ["keep_cluster", "no_snapshots", "all", "slow"])
@pytest.mark.parametrize(("text", "on"), [("1", True), ("Yes", True), ("true", True), ("0", False), ("no", False)])
def test_a_switch_can_be_text(name, text, on):
    assert getattr(Settings.from_sources({}, environment={f"ROOKERY_{name.upper()}": text}), name) is on


def test_a_switch_can_be_set_in_the_file(pyproject):
    found = Settings.from_sources({}, environment={}, pyproject=pyproject("no_snapshots = true\nkind_workers = 4"))
    assert (found.no_snapshots, found.keep_cluster, found.kind_workers) == (True, False, 4)


@pytest.mark.parametrize(("shard", "slice"), [(None, None), ("1/1", (1, 1)), ("2/5", (2, 5)), ("10/10", (10, 10))])
def test_a_slice_is_one_of_so_many(shard, slice):
    assert Settings.from_sources({"shard": shard}, environment={}).slice == slice


@pytest.mark.parametrize("shard", ["0/5", "6/5", "0/0", "-1/5", "2", "2/", "2/5/7", "two/five", " 2/5"])
def test_a_slice_that_is_none_of_them_is_refused(shard):
    with pytest.raises(UsageError, match=rf"--shard {shard}: no such slice\n  hint: I/N with I from 1 to N"):
        Settings.from_sources({}, environment={"ROOKERY_SHARD": shard})


def test_the_disk_size_is_in_bytes():
    assert Settings(disk_size="7GiB").disk_bytes == 7 * 1024**3


def test_an_option_is_named_with_dashes():
    assert option_name("keep_cluster") == "--keep-cluster"


@pytest.mark.parametrize("name", ["kubeconfig", "kind_bin", "kind_config", "rook_manifests", "results_dir"])
def test_a_path_below_home_is_one_wherever_it_is_written(pyproject, monkeypatch, name):
    monkeypatch.setenv("HOME", "/home/me")
    for found in (
        Settings.from_sources({name: "~/here"}, environment={}),
        Settings.from_sources({}, environment={f"ROOKERY_{name.upper()}": "~/here"}),
        Settings.from_sources({}, environment={}, pyproject=pyproject(f'{name} = "~/here"')),
    ):
        assert getattr(found, name) == "/home/me/here"
