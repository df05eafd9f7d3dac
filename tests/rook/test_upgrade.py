"""An upgrade begins in the order of Rook's documentation, is refused before it, and is done when every part says so."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fakes import Clock, FakeCeph, plays_kube
from rookery.csi import manifests as csi
from rookery.errors import DeadlineExceeded, InfrastructureError, Unknown, UsageError
from rookery.images.catalogue import Catalogue
from rookery.rook import manifests, upgrade
from rookery.rook import system as rook_system
from rookery.rook.csi_drivers import Drivers
from rookery.rook.manifests import Stage
from rookery.rook.system import RookSystem
from rookery.settings import Settings
from rookery.waiting import Condition, NotYet

TARGET = upgrade.Target.of_rook("1.18.8", ceph="18.2.7")


@plays_kube
class Api:
    """Deployments, DaemonSets and pods, and what was done to them, in its order."""

    def __init__(self, *names, pods=()):
        self.did = []
        self.found = {name: self._deployment(name) for name in names}
        self.pods = list(pods)

    @staticmethod
    def _deployment(name):
        containers = [{"name": "main", "image": "old", "env": []}, {"name": "second", "image": "old"}]
        status = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}
        spec = {"replicas": 1, "template": {"spec": {"containers": containers}}}
        return {"kind": "Deployment", "metadata": {"name": name, "generation": 1}, "spec": spec, "status": status}

    def get(self, kind, name, *, namespace=None, api_version=None):
        if kind == "CustomResourceDefinition":
            self.did.append(f"asked for {name}")
            return {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
        return self.found.get(name)

    def list(self, kind, *, namespace, labels):
        assert kind == "Pod"
        left, self.pods = self.pods, self.pods[1:]
        return [{"metadata": {"name": name}} for name in left]

    def apply(self, objects):
        self.did += [f"applied {each['kind']} {each['metadata']['name']}" for each in objects]

    def patch(self, kind, name, patch, *, namespace):
        self.did.append(f"patched {kind} {name}")
        self.patched = patch

    def delete(self, kind, name, *, namespace):
        self.did.append(f"deleted {kind} {name}")


def named(kind, name, **more):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


STAGES = [
    Stage(
        [
            named("CustomResourceDefinition", "cephclusters"),
            named("ClusterRole", "rook"),
            named("ConfigMap", manifests.OPERATOR_CONFIG, data={}),
            named("Deployment", manifests.OPERATOR),
        ]
    )
]


@contextmanager
def quiet(name):
    yield


def test_the_operator_is_touched_when_crds_are_established_and_its_settings_when_it_is_the_new_one():
    api = Api(manifests.OPERATOR)
    rendering = SimpleNamespace(operator_stages=lambda: STAGES, image_of_operator=lambda: "new")
    rook = SimpleNamespace(rendering=rendering, spec=SimpleNamespace(namespace="rook-ceph", name="rook-ceph"))
    upgrade.begin_rook(api, rook, quiet)
    assert api.did == [
        "patched CephCluster rook-ceph",
        "applied CustomResourceDefinition cephclusters",
        "applied ClusterRole rook",
        "asked for cephclusters",
        f"patched Deployment {manifests.OPERATOR}",
        f"applied ConfigMap {manifests.OPERATOR_CONFIG}",
    ]
    containers = api.patched["spec"]["template"]["spec"]["containers"]
    assert containers == [{"name": "main", "image": "new", "env": []}, {"name": "second", "image": "new"}]


def test_a_deployment_that_is_not_there_is_named():
    with pytest.raises(InfrastructureError, match="no Deployment rook-ceph-tools"):
        upgrade.set_image(Api(), manifests.TOOLBOX, "rook-ceph", "new")


@pytest.mark.parametrize("plugins", [[csi.RBD], [csi.RBD, csi.CEPHFS]], ids=["rbd", "both"])
def test_pods_of_the_driver_have_gone_before_others_take_over(plugins, monkeypatch):
    clock = Clock(monkeypatch)
    api = Api(*(each.node for each in plugins), pods=["old", "older"])
    Drivers(api, driver="userspace", image="image", kubelet_dir="/var/lib/kubelet").hand_over()
    assert clock.now > 1000.0  # it was asked again until they had
    steps = [each for each in api.did if "DaemonSet" in each or "Deployment rbd" in each or "Deployment ceph" in each]
    assert steps == [
        f"{what} {kind} {name}"
        for each in plugins
        for what, order in (("deleted", 1), ("applied", -1))
        for kind, name in (("DaemonSet", each.node), ("Deployment", each.controller))[::order]
    ]


def test_rooks_own_driver_is_its_operators_to_hand_over():
    api = Api(csi.RBD.node)
    drivers = Drivers(api, driver="ceph-csi", image="", kubelet_dir="/var/lib/kubelet")
    drivers.hand_over()
    assert (api.did, drivers.serving()) == ([], [])


def daemons(**others):
    names = ["mon-a", "mon-b", "mon-c", "mgr-a", "osd-0", "osd-1", "osd-2"]
    versions = dict.fromkeys(names, "v1.18.8") | {name.replace("_", "-"): each for name, each in others.items()}
    return [
        {"metadata": {"name": name, "labels": {"app": f"rook-ceph-{name.partition('-')[0]}", "rook-version": version}}}
        for name, version in versions.items()
        if version
    ]


COUNTS = {"mon": 3, "mgr": 1, "osd": 3}


def test_every_daemon_has_to_have_the_label():
    upgrade.check_daemons(daemons(), COUNTS, TARGET)
    with pytest.raises(NotYet, match=r"rook-version is another one of 2 of 7: mon-b v1.17.8, osd-2 v1.17.8"):
        upgrade.check_daemons(daemons(mon_b="v1.17.8", osd_2="v1.17.8"), COUNTS, TARGET)


@pytest.mark.parametrize(
    ("gone", "told"), [("osd_1", "2 of 3 Deployments of osds"), ("mgr_a", "0 of 1 Deployments of mgrs")]
)
def test_a_daemon_that_is_not_there_is_not_upgraded(gone, told):
    with pytest.raises(NotYet, match=told):
        upgrade.check_daemons(daemons(**{gone: ""}), COUNTS, TARGET)


def versions(mon=3, mgr=1, osd=3, **others):
    of = {"mon": mon, "mgr": mgr, "osd": osd}
    text = "ceph version 18.2.7 (6b0e) reef (stable)"
    return {kind: {text: count} for kind, count in of.items()} | {"overall": {text: sum(of.values()), **others}}


SPEC = SimpleNamespace(mons=3, osds=3)


def test_ceph_versions_has_to_know_all_daemons_and_one_version():
    rook = SimpleNamespace(spec=SPEC)
    upgrade.check_versions(versions(), rook, "18.2.7")
    with pytest.raises(NotYet, match=r"not 18.2.7: ceph version 18.2.70 \(x\)"):
        upgrade.check_versions(versions(**{"ceph version 18.2.70 (x)": 1}), rook, "18.2.7")
    with pytest.raises(NotYet, match="knows 2 of 3 osds"):
        upgrade.check_versions(versions(osd=2), rook, "18.2.7")
    with pytest.raises(NotYet, match="no daemon"):
        upgrade.check_versions({"overall": {}}, rook, "18.2.7")


@plays_kube
class Upgrading(FakeCeph):
    """A Rook whose operator has done the upgrade but for what is `stuck`."""

    def list(self, kind, *, namespace="", labels="", fields="", api_version=""):
        if kind != "Deployment":
            return super().list(kind, namespace=namespace, labels=labels, fields=fields, api_version=api_version)
        assert labels == "rook_cluster=rook-ceph"
        return daemons(osd_2="v1.17.8") if "label" in self.stuck else daemons()

    def get(self, kind, name, *, namespace="", api_version=""):
        if kind == "CephCluster":
            phase = "Progressing" if "cluster" in self.stuck else "Ready"
            return {"status": {"phase": phase, "ceph": {"health": "HEALTH_OK"}}}
        replicas = 0 if name in self.stuck else 1
        status = {"observedGeneration": 1, "updatedReplicas": replicas, "availableReplicas": replicas}
        return {"kind": kind, "metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": status}

    def exec(self, pod, argv, *, namespace, timeout):
        if '"versions"' in argv[-1]:
            return json.dumps(versions(**({"ceph version 17.2.8 (x)": 1} if "versions" in self.stuck else {})))
        return super().exec(pod, argv, namespace=namespace, timeout=timeout)


@pytest.fixture
def upgrading(monkeypatch):
    return Upgrading(Clock(monkeypatch))


def done(api, driver=lambda: None, milestone=lambda name: None):
    drivers = [Condition("driver", driver, within=1)]
    return upgrade.done(api, api.rook, TARGET, milestone, "upgrade", drivers=drivers)


def test_it_is_done_when_all_of_it_is_and_each_step_is_reported_once(upgrading):
    told = []
    done(upgrading, milestone=told.append).wait()
    assert told == [
        "every daemon at v1.18.8",
        "CephCluster Ready",
        "ceph versions agree",
        "storage drivers serve",
        "done",
    ]


@pytest.mark.parametrize(
    ("stuck", "reason"),
    [
        ("rook-ceph-operator", "Deployment rook-ceph-operator: 0 updated"),
        ("label", "osd-2 v1.17.8"),
        ("mon-b", "Deployment mon-b: 0 updated"),
        ("cluster", "CephCluster Ready: Progressing"),
        ("versions", "17.2.8"),
    ],
)
def test_what_keeps_it_from_being_done_is_named(upgrading, stuck, reason):
    upgrading.stuck.add(stuck)
    with pytest.raises(DeadlineExceeded, match=reason):
        done(upgrading).wait(within=20)


def test_ceph_has_to_be_well_and_the_driver_to_serve(upgrading):
    upgrading.health = "HEALTH_WARN"
    with pytest.raises(DeadlineExceeded, match="HEALTH_WARN"):
        done(upgrading).wait(within=20)
    upgrading.health = "HEALTH_OK"

    def away():
        raise NotYet("it has no pod there")

    with pytest.raises(DeadlineExceeded, match="driver: it has no pod there"):
        done(upgrading, away).wait(within=20)


def test_an_upgrade_begins_on_a_healthy_cluster_only(upgrading):
    upgrade.healthy_before(upgrading.rook).now()
    upgrading.pg_state = "active+undersized+degraded"
    with pytest.raises(NotYet, match="1 active\\+undersized"):
        upgrade.healthy_before(upgrading.rook).now()


def test_half_an_upgrade_is_some_daemons_and_not_all(upgrading):
    upgrading.stuck.add("label")
    assert len(upgrading.rook.partly_at("1.18.8").now()) == 6
    assert len(upgrading.rook.partly_at("1.18.8", daemon="mon").now()) == 6
    with pytest.raises(UsageError, match="no osds"):
        upgrading.rook.partly_at("1.18.8", daemon="osds").now()
    with pytest.raises(NotYet, match="none of 7"):
        upgrading.rook.partly_at("1.19.0").now()
    upgrading.stuck.clear()
    with pytest.raises(Unknown, match="all 7 daemons"):
        upgrading.rook.partly_at("1.18.8").now()


@pytest.fixture
def system(monkeypatch):
    """A RookSystem on nodes, whose upgrade is told and not made."""

    def images(settings):
        return Catalogue(f"rook/ceph:v{settings.rook}", f"quay.io/ceph/ceph:v{settings.ceph or '18.2.7'}", ("driver",))

    did = []

    def begin(self, after, phase, milestone):
        did.append((after.rook, after.ceph))
        self._become(after)
        return Condition("done", lambda: did.append("waited"), within=1)

    def healthy_before(rook):
        return Condition("healthy", lambda: did.append("healthy"), within=1)

    monkeypatch.setattr(rook_system.upgrade, "healthy_before", healthy_before)
    monkeypatch.setattr(rook_system, "needed_images", images)
    monkeypatch.setattr(RookSystem, "_begin", begin)
    made = RookSystem(Settings(rook="1.17.8", csi_driver="userspace"))
    made.did, made._rook = did, object()
    return made


def test_what_every_worker_is_to_have_is_of_the_version_to_come(system):
    assert system.images_after({"rook": "v1.18.8"}) == ("rook/ceph:v1.18.8", "quay.io/ceph/ceph:v18.2.7", "driver")
    assert system.versions() == {"rook": "1.17.8", "ceph": "quay.io/ceph/ceph:v18.2.7"}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"rook": "1.19.10"}, "skips a minor"),
        ({"ceph": "20.2.4"}, "Rook 1.17.8 takes"),
        ({}, "of nothing"),
        ({"rook": ""}, "of rook to no version"),
        ({"rook": "1.18.8", "ceph": "v"}, "of ceph to no version"),
        ({"kubernetes": "1.33.0"}, "no version of kubernetes"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_touched(system, wanted, why):
    for verb in (system.images_after, lambda versions: system.upgrade(versions, quiet, quiet)):
        with pytest.raises(UsageError, match=why) as caught:
            verb(wanted)
        assert caught.value.hint
    assert (system.did, system.unaltered) == ([], True)


def test_rook_comes_first_and_ceph_when_it_is_done(system):
    system.upgrade({"rook": "1.18.8", "ceph": "20.2.4"}, quiet, quiet)
    assert system.did == ["healthy", ("1.18.8", "18.2.7"), "waited", "healthy", ("1.18.8", "20.2.4")]


def test_it_is_begun_on_what_is_not_healthy_only_where_that_is_asked_for(system):
    system.upgrade({"rook": "1.18.8"}, quiet, quiet, healthy_first=False)
    assert system.did == [("1.18.8", "18.2.7")]


def test_it_is_of_the_new_versions_until_the_cluster_is_forgotten(system):
    system.upgrade({"rook": "1.18.8"}, quiet, quiet)
    assert system.versions()["rook"] == "1.18.8"
    assert not system.unaltered
    with pytest.raises(UsageError, match="was upgraded is not saved"):
        system.require_savable()
    system.forget()
    assert system.versions() == {"rook": "1.17.8", "ceph": "quay.io/ceph/ceph:v18.2.7"}
    assert system.unaltered
    system.require_savable()


def test_rook_is_rolled_back_to_what_it_was_once(system):
    system.upgrade({"rook": "1.18.8"}, quiet, quiet)
    system.roll_back(quiet, quiet)
    assert system.did == ["healthy", ("1.18.8", "18.2.7"), ("1.17.8", "18.2.7")]
    assert system.versions() == {"rook": "1.17.8", "ceph": "quay.io/ceph/ceph:v18.2.7"}
    with pytest.raises(UsageError, match="no upgrade of Rook to roll back"):
        system.roll_back(quiet, quiet)


@pytest.mark.parametrize(("was", "to", "verb"), [("1.17.8", "1.18.8", "upgrade"), ("1.18.8", "1.17.8", "roll back")])
def test_each_step_is_called_what_leads_to_it(system, monkeypatch, was, to, verb):
    monkeypatch.undo()
    begun, catalogue = [], Catalogue("rook/ceph:v1", "quay.io/ceph/ceph:v18.2.7", ("driver",))
    monkeypatch.setattr(rook_system, "needed_images", lambda settings: catalogue)
    made = RookSystem(Settings(rook=was, csi_driver="userspace"))
    made._nodes = SimpleNamespace(kube="kube", workers=[], topology=None)
    drivers = SimpleNamespace(hand_over=lambda: begun.append("handed over"), serving=list)
    monkeypatch.setattr(RookSystem, "_rook_on", lambda self, nodes, phase: "rook")
    monkeypatch.setattr(RookSystem, "_drivers", drivers)
    monkeypatch.setattr(RookSystem, "driver_pods", None)

    def begin_rook(kube, rook, phase):
        with phase("operator runs"):
            pass

    @contextmanager
    def phase(name):
        begun.append(name)
        yield

    monkeypatch.setattr(upgrade, "begin_rook", begin_rook)
    monkeypatch.setattr(upgrade, "done", lambda kube, rook, target, milestone, verb, *, drivers: (target.value, verb))
    assert made._begin(Settings(rook=to, csi_driver="userspace"), phase, quiet) == (f"v{to}", verb)
    assert begun == [f"{verb}: operator runs", f"{verb}: storage driver handed over", "handed over"]


def test_a_cluster_that_was_rolled_back_is_not_the_one_that_was_deployed(system):
    system.upgrade({"rook": "1.18.8"}, quiet, quiet)
    system.roll_back(quiet, quiet)
    assert not system.unaltered
    with pytest.raises(UsageError, match="is not saved"):
        system.require_savable()
    system.forget()
    assert system.unaltered


@pytest.mark.parametrize("versions", [None, {"rook": "1.18.8", "ceph": "20.2.4"}], ids=["nothing", "Ceph"])
def test_nothing_is_rolled_back_where_ceph_was_upgraded_or_nothing(system, versions):
    if versions:
        system.upgrade(versions, quiet, quiet)
    before, did = system.versions(), list(system.did)
    for verb in (system.require_roll_back, lambda: system.roll_back(quiet, quiet)):
        with pytest.raises(UsageError, match="no upgrade of Rook to roll back") as caught:
            verb()
        assert caught.value.hint
    assert (system.versions(), system.did) == (before, did)


def test_an_upgrade_before_is_not_rolled_back_on_the_cluster_that_comes_after_it(system):
    system.upgrade({"rook": "1.18.8"}, quiet, quiet)
    system.forget()
    with pytest.raises(UsageError, match="no upgrade of Rook"):
        system.roll_back(quiet, quiet)
