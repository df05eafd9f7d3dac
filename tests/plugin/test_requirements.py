"""What a scenario requires, of a run or of Rook, and what is not met."""

import re

import pytest
from pytester_runs import Cluster
from rookery.plugin import session


@pytest.mark.parametrize(
    ("marker", "skipped"),
    [
        ("requires(workers=3)", "requires 3 workers; there are 2"),
        ("requires(storage='local')", "requires --storage local; rook serves here"),
        ("requires(csi_driver='ceph-csi')", "requires --csi-driver ceph-csi; userspace serves here"),
        ("requires(csi_driver='userspace', workers=2)", ""),
        ("requires('12 GiB of memory')", ""),
    ],
)
def test_what_a_run_does_not_have_skips_a_scenario_before_a_cluster_is_made(pytester, cluster, marker, skipped):
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(cluster): pass")
    ran = pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider", "--kind-workers=2", "--csi-driver=userspace")
    ran.assert_outcomes(**{"skipped" if skipped else "passed": 1})
    assert ran.ret == 0
    assert skipped in ran.stdout.str()
    assert (pytester.path / "results").exists() != bool(skipped)


@pytest.mark.parametrize(
    "marker",
    ["requires", "requires(3)", "requires(' ')", "requires(workers='3')", "requires(storage=3)", "requires(nodes=3)"],
)
def test_a_requirement_that_is_none_is_a_wrong_use(pytester, cluster, marker):
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(cluster): pass")
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*test_it: what can be required is a storage system*"])


@pytest.mark.parametrize("marker", ["kind_config", "kind_config(3)", "kind_config('a', 'b')"])
def test_a_kind_configuration_that_is_no_name_or_path_is_a_wrong_use(pytester, cluster, marker):
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(cluster): pass")
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*test_it: a kind configuration is a name or a path*"])


@pytest.mark.parametrize(
    "marker",
    ["rook", "rook(3)", "rook('nonsense')", "rook('1.17.8', '1.18.8')", "rook('1.17.8', to='1.18.8')", "rook('1.1.8')"],
)
def test_a_rook_that_is_no_version_is_a_wrong_use(pytester, cluster, marker):
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(cluster): pass")
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(['*test_it: a version of Rook, and one to upgrade it to: rook("1.17.8", upgrade=*'])


@pytest.mark.parametrize(
    ("options", "skipped"),
    [
        ([], ""),
        (["--kubernetes=1.34.0"], "--kubernetes 1.34.0 does not fit Rook 1.17.8"),
        (["--ceph=20.2.3"], "--ceph 20.2.3 does not fit Rook 1.17.8"),
        (["--storage=local", "--kubernetes=1.34.0"], ""),
    ],
)
def test_a_scenario_of_another_rook_is_skipped_where_the_run_does_not_fit_that(pytester, cluster, options, skipped):
    pytester.makepyfile('import pytest\n@pytest.mark.rook("1.17.8", upgrade="1.18.8")\ndef test_it(cluster): pass')
    ran = pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider", *options)
    ran.assert_outcomes(**{"skipped" if skipped else "passed": 1})
    assert skipped in ran.stdout.str()


def test_a_scenario_of_another_rook_has_that_and_the_operator_it_upgrades_to(pytester, cluster, monkeypatch):
    made = []

    class Told(Cluster):
        def __init__(self, settings, *, images=(), **places):
            super().__init__(settings, **places)
            made.append((settings.rook, settings.rook_manifests, set(images)))

    monkeypatch.setattr(session, "StorageCluster", Told)
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.rook("v1.17.8", upgrade="1.18.8")
        def test_a(cluster): pass
        def test_b(cluster): pass
        def test_c(cluster): pass
        @pytest.mark.rook("1.17.8")
        def test_d(cluster): pass
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", "-v")
    ran.assert_outcomes(passed=4)
    operators = {"docker.io/rook/ceph:v1.18.8"}
    assert made == [("1.17.8", None, operators), ("1.18.8", None, operators)]  # two clusters: those alike come together
    assert [test[-1] for test in re.findall(r"::(test_\w) PASSED", ran.stdout.str())] == ["a", "d", "b", "c"]


def test_a_cluster_whose_storage_was_upgraded_is_not_used_again(pytester, cluster, monkeypatch):
    pytester.makepyfile(
        """
        def test_a(monkeypatch, cluster): monkeypatch.setattr(cluster.storage, "unaltered", False)
        def test_b(cluster): pass
        def test_c(cluster): pass
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    ran.assert_outcomes(passed=3)
    assert ran.stdout.str().count("storage-ready restored") == 1  # for b, and c has it from b
