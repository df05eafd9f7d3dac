"""What is told of a cluster's tuning is what is applied, all of it, and nothing else."""

import json
from configparser import ConfigParser
from pathlib import Path

import pytest
from rookery import cli
from rookery.catalogue import tuning
from rookery.rook.ceph_cluster import CIPHERS, CephSpec, ceph_cluster, config_override

DOCS = Path(__file__).parents[2] / "docs"
# Of the CephCluster, what says which cluster it is, and is no tuning.
WHICH = ("cephVersion.image", "dataDirHostPath", "mon.", "mgr.modules", "dashboard.enabled", "storage.", "cephConfig.")


def spec():
    disks = {f"node-{number}": [f"/dev/loop{number}"] for number in range(3)}
    return ceph_cluster(CephSpec("image", disks))["spec"]


def names(settings):
    return {setting for setting, _, _ in settings}


def test_every_value_of_the_kind_configuration_is_reported():
    assert names(tuning.KUBERNETES) == set(tuning.leaves(tuning.kubernetes()))


def test_every_value_of_the_ceph_cluster_is_reported():
    applied = {path for path in tuning.leaves(spec()) if not path.startswith(WHICH)}
    assert names(tuning.CEPH_CLUSTER) == applied


def test_every_setting_of_ceph_is_reported():
    assert names(tuning.CEPH) == set(tuning.leaves(spec()["cephConfig"]))


def test_what_mons_have_for_older_keys_is_reported():
    (override,) = config_override(CephSpec("image", {"node": ["/dev/loop1"]}, pool_size=1, permit_aes=True))
    lines = ConfigParser()
    lines.read_string(override["data"]["config"])
    applied = {f"mon.{name}": value for name, value in lines["mon"].items()}
    applied |= {f"monmap.{name}": value for name, value in CIPHERS.items()}
    told = {each.setting: each.here for each in tuning.tuned() if each.setting.startswith(("mon.", "monmap."))}
    assert told == applied


def test_every_interval_of_the_sidecars_is_reported():
    others = {"--csi-address", "--v", "--default-fstype"}
    assert names(tuning.SIDECARS) == tuning.sidecar_flags().keys() - others


def test_only_what_differs_is_reported_with_its_value_here():
    told = {each.setting: (each.here, each.usual) for each in tuning.tuned()}
    assert told["osd.osd_pool_default_read_lease_ratio"] == ("0.4", "0.8")
    assert told["skipUpgradeChecks"] == ("true", "false")
    assert "healthCheck.daemonHealth.mon.interval" not in told
    assert all(each.why for each in tuning.tuned())


def test_the_page_is_the_committed_one():
    assert (DOCS / "tuning.md").read_text(encoding="utf-8") == tuning.page(), (
        "make it again: rookery tuning --markdown > docs/tuning.md"
    )


@pytest.mark.parametrize("shape", [[], ["--json"]])
def test_the_command_lists_all(capsys, shape):
    assert cli.main(["tuning", *shape]) == 0
    told = capsys.readouterr().out
    if shape:
        assert [each["setting"] for each in json.loads(told)] == [each.setting for each in tuning.tuned()]
    else:
        assert "osd_mclock_skip_benchmark" in told
