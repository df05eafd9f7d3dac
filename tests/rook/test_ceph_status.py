"""What Ceph says is parsed, and stale evidence is told from new."""

import json
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest
from fakes import plays_kube, plays_rook_and_kube
from hypothesis import given
from hypothesis import strategies as st
from rookery.errors import DeadlineExceeded
from rookery.kube import ApiUnavailable, ExecFailed
from rookery.rook import CephSpec, Rook, deploy
from rookery.rook.rendering import Rendering
from rookery.rook.status import (
    CephBaseline,
    Health,
    HealthCheck,
    Osd,
    OsdMap,
    Pg,
    Quorum,
    check_osds_up,
    check_pgs_clean,
    check_quorum,
    crashes_of,
    hosts_of,
    lanes,
    pgs_of,
)
from rookery.rook.toolbox import ask
from rookery.waiting import NotYet

FSID = "5f1e2f4e-0000-4000-8000-00000000cafe"
SPEC = CephSpec(image="quay.io/ceph/ceph:v18.2.7", disks={f"w{n}": [f"/dev/loop{n}"] for n in range(3)})


def osd_dump(*osds: tuple[int, int, int], epoch: int = 40) -> dict:
    """`ceph osd dump` of OSDs given as (up, in, up_from), cut down to some of the fields it really has."""
    return {
        "epoch": epoch,
        "fsid": FSID,
        "max_osd": len(osds),
        "osds": [
            {"osd": n, "uuid": f"uuid-{n}", "up": up, "in": into, "weight": 1, "up_from": up_from, "up_thru": 38}
            for n, (up, into, up_from) in enumerate(osds)
        ],
    }


def quorum_status(*names: str, election_epoch: int = 14) -> dict:
    return {
        "election_epoch": election_epoch,
        "quorum": list(range(len(names))),
        "quorum_names": list(names),
        "quorum_leader_name": names[0] if names else "",
        "quorum_age": 100,
        "monmap": {"epoch": 3, "fsid": FSID, "mons": [{"rank": n, "name": name} for n, name in enumerate("abc")]},
    }


def health(**checks: bool) -> dict:
    """`ceph health detail` with these checks, each muted or not."""
    status = "HEALTH_OK" if all(checks.values()) else "HEALTH_WARN"
    return {
        "status": status,
        "checks": {
            code: {"severity": "HEALTH_WARN", "summary": {"message": f"{code} it is", "count": 1}, "muted": muted}
            for code, muted in checks.items()
        },
        "mutes": [],
    }


def test_osd_dump_and_tree_are_parsed():
    tree = {
        "nodes": [
            {"id": -1, "name": "default", "type": "root", "children": [-3]},
            {"id": -3, "name": "worker2", "type": "host", "children": [1, 0]},
            {"id": -5, "name": "without-disks", "type": "host"},
            {"id": 0, "name": "osd.0", "type": "osd"},
            {"id": 1, "name": "osd.1", "type": "osd"},
        ],
        "stray": [],
    }
    osdmap = OsdMap.parse(osd_dump((1, 1, 12), (0, 1, 9)), hosts_of(tree))
    assert (osdmap.epoch, osdmap.fsid) == (40, FSID)
    assert osdmap.osds == (
        Osd(0, "uuid-0", up=True, in_cluster=True, up_from=12, host="worker2"),
        Osd(1, "uuid-1", up=False, in_cluster=True, up_from=9, host="worker2"),
    )


def test_what_a_version_of_ceph_does_not_report_is_empty():
    osd = {"osd": 0, "up": 1, "in": 1, "up_from": 12}
    (found,) = OsdMap.parse({"epoch": 40, "fsid": FSID, "osds": [osd]}).osds
    assert (found.uuid, found.host) == ("", "")
    (found,) = OsdMap.parse({"epoch": 40, "fsid": FSID, "osds": [osd]}, hosts={7: "worker"}).osds
    assert found.host == ""
    status = quorum_status("a")
    del status["quorum_leader_name"]
    assert Quorum.parse(status).leader == ""
    (pg,) = pgs_of({"pg_stats": [{"pgid": "1.0", "state": "active+clean", "reported_epoch": 1}]})
    assert pg.became_active == 0.0


def test_a_pg_shows_when_it_became_active():
    told = {"pgid": "1.0", "state": "active", "reported_epoch": 1, "last_became_active": "2026-11-29T18:00:00.5+0000"}
    (pg,) = pgs_of({"pg_stats": [told]})
    assert pg.became_active == datetime(2026, 11, 29, 18, 0, 0, 500_000, timezone.utc).timestamp()


def test_any_boot_and_any_election_is_newer_than_none():
    osdmap = OsdMap.parse(osd_dump((1, 1, 1)))
    assert check_osds_up(osdmap, 1) is osdmap
    first = Quorum.parse(quorum_status("a", "b", "c", election_epoch=1))
    assert check_quorum(first, 3) is first


@pytest.mark.parametrize(
    ("osds", "reason"),
    [
        ([(1, 1, 41), (1, 1, 12), (1, 1, 42)], "from boots before the fault: 1"),
        ([(0, 1, 12), (0, 1, 13), (1, 1, 42)], "OSDs down: 0, 1"),
        ([(1, 0, 41), (1, 1, 43), (1, 1, 42)], "OSDs out: 0"),
        ([(1, 1, 41), (1, 1, 43)], "2 of 3 OSDs"),
    ],
)
def test_osds_that_are_not_back_are_named(osds, reason):
    with pytest.raises(NotYet, match=reason):
        check_osds_up(OsdMap.parse(osd_dump(*osds)), 3, booted_after=40)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.integers(0, 100))
def test_osds_are_up_only_if_every_boot_is_newer(boots, epoch):
    osdmap = OsdMap.parse(osd_dump(*[(1, 1, boot) for boot in boots]))
    if min(boots) > epoch:
        assert check_osds_up(osdmap, len(boots), booted_after=epoch) is osdmap
    else:
        with pytest.raises(NotYet):
            check_osds_up(osdmap, len(boots), booted_after=epoch)


def test_pgs_are_clean_only_by_new_reports():
    pgs = pgs_of(
        {
            "pg_ready": True,
            "pg_stats": [
                {"pgid": "1.0", "state": "active+clean", "reported_epoch": 41, "version": "40'9"},
                {"pgid": "2.1f", "state": "active+clean", "reported_epoch": "39"},
            ],
        }
    )
    assert pgs == (Pg("1.0", "active+clean", 41), Pg("2.1f", "active+clean", 39))
    assert check_pgs_clean(pgs) is pgs
    assert check_pgs_clean([Pg("1.0", "active+clean", 1)])  # any report is newer than none
    with pytest.raises(NotYet, match="1 of 2 PGs shown as active\\+clean, but by reports from before"):
        check_pgs_clean(pgs, reported_after=40)


@pytest.mark.parametrize("state", ["active+clean+laggy", "active+undersized+degraded", "peering", "unknown"])
def test_pgs_in_any_other_state_are_not_clean(state):
    with pytest.raises(NotYet) as reason:
        check_pgs_clean([Pg("1.0", "active+clean", 50), Pg("1.1", state, 50)])
    assert f"1 {state}" in str(reason.value)
    with pytest.raises(NotYet, match=r"^of 3 PGs 2 down, 1 peering$"):
        check_pgs_clean([Pg("1.0", "down", 50), Pg("1.1", "down", 50), Pg("1.2", "peering", 50)])


def test_no_pgs_and_a_mgr_that_has_not_heard_of_them_are_not_clean():
    with pytest.raises(NotYet, match=r"^no PGs$"):
        check_pgs_clean([])
    with pytest.raises(NotYet, match=r"^the mgr has not heard of all PGs yet$"):
        pgs_of({"pg_ready": False, "pg_stats": [{"pgid": "1.0", "state": "active+clean", "reported_epoch": 1}]})


def test_quorum_needs_every_mon_and_a_new_election():
    whole = Quorum.parse(quorum_status("a", "b", "c"))
    assert check_quorum(whole, 3, elected_after=12).leader == "a"
    with pytest.raises(NotYet, match=r"^mons not in quorum: b, c$"):
        check_quorum(Quorum.parse(quorum_status("a")), 3)
    with pytest.raises(NotYet, match="still that of election 14"):
        check_quorum(whole, 3, elected_after=14)
    with pytest.raises(NotYet, match="3 of 5 mons"):
        check_quorum(whole, 5)


def test_health_shows_what_is_wrong_and_leaves_out_what_is_muted():
    warning = Health.parse(health(OSD_DOWN=False, MON_CLOCK_SKEW=True))
    assert str(warning) == "HEALTH_WARN (OSD_DOWN: OSD_DOWN it is)"
    assert not warning.ok
    assert Health.parse(health(MON_CLOCK_SKEW=True)).ok
    assert str(Health.parse(health(A=False, B=False))) == "HEALTH_WARN (A: A it is; B: B it is)"
    assert Health.parse(health(A=True)).checks == (HealthCheck("A", "HEALTH_WARN", "A it is", muted=True),)


def test_crashes_have_their_times():
    names = ("2026-11-29T10:58:29.307562Z", "2026-11-29 10:58:29.307562Z")  # since Ceph 15, and before
    listed = [{"crash_id": "it", "timestamp": name, "entity_name": "mgr.a", "stack_sig": "x"} for name in names]
    assert crashes_of(listed) == [(pytest.approx(1_795_949_909.307562), "mgr.a", "it")] * 2
    assert crashes_of(None) == []


def test_lanes_begin_with_what_there_is_and_have_its_epochs():
    osdmap = OsdMap.parse(osd_dump((1, 1, 12), (0, 1, 9), (0, 0, 7)))
    warning = Health.parse(health(OSD_DOWN=False, MON_CLOCK_SKEW=True, MON_DOWN=False))
    found = lanes(osdmap, Quorum.parse(quorum_status("a", "c")), warning)
    assert {lane: state for lane, (state, _) in found.items()} == {
        ("OSD map", "OSD map"): "3 total, 1 up, 2 in",
        ("OSD", "osd.0"): "up",
        ("OSD", "osd.1"): "down",
        ("OSD", "osd.2"): "out",
        ("mon", "mon.a"): "in quorum",
        ("mon", "mon.b"): "out of quorum",
        ("mon", "mon.c"): "in quorum",
        ("health", "health"): "MON_DOWN, OSD_DOWN",
    }
    assert found["OSD", "osd.0"][1] == "since epoch 12, OSD map e40"
    assert found["OSD map", "OSD map"][1] == "osdmap e40: 3 total, 1 up, 2 in"
    calm = lanes(osdmap, Quorum.parse(quorum_status("a")), Health.parse(health(A=True)))
    assert calm["health", "health"] == ("HEALTH_OK", "HEALTH_OK")


def test_a_health_without_checks_is_its_status():
    found = Health.parse({"status": "HEALTH_OK"})
    assert (str(found), found.ok, found.checks) == ("HEALTH_OK", True, ())


@plays_kube
class FakeToolbox:
    """A cluster whose toolbox answers `ceph` commands from a dictionary, and keeps what it was asked."""

    def __init__(self, answers: dict[str, str] | None = None, *, pods: list[dict] | None = None) -> None:
        self.answers = answers or {}
        self.pods = [tools_pod()] if pods is None else pods
        self.asked: list[str] = []

    def list(self, kind, **_selectors):
        assert kind == "Pod"
        return self.pods

    def exec(self, pod, argv, *, namespace, timeout):
        assert (argv[0], namespace) == ("timeout", "rook-ceph")
        if "python3" in argv:  # by the bindings: `osd pool ls` with `detail` is what `osd pool ls detail` is
            words = json.loads(argv[-1])
            command = " ".join([words.pop("prefix"), *("".join(value) for value in words.values())])
            assert argv[-2] == ("mgr" if command.startswith("pg ") else "mon")
        else:
            command = " ".join(argv[argv.index("--connect-timeout") + 2 : argv.index("--format")])
        self.asked.append(f"{pod}: {command}")
        answer = self.answers[command]
        if isinstance(answer, Exception):
            raise answer
        return answer


def tools_pod(name: str = "tools-1", *, ready: bool = True, **metadata: str) -> dict:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": name, **metadata},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": []},
    }


def test_the_toolbox_pod_that_is_ready_is_asked():
    gone = tools_pod("tools-old", deletionTimestamp="2026-11-24T08:00:00Z")
    kube = FakeToolbox({"fsid": f'{{"fsid": "{FSID}"}}\n'}, pods=[gone, tools_pod("tools-new")])
    assert ask(kube, "rook-ceph", "ceph", "fsid") == {"fsid": FSID}
    assert kube.asked == ["tools-new: fsid"]


@pytest.mark.parametrize(
    ("kube", "reason"),
    [
        (FakeToolbox(pods=[]), "no toolbox pod"),
        (FakeToolbox(pods=[tools_pod(ready=False)]), "tools-1: Running, not Ready"),
        (FakeToolbox({"fsid": ExecFailed("ceph", 1, "…\nError initializing cluster client\n")}), "Error initializing"),
        (FakeToolbox({"fsid": ExecFailed("ceph", None, "")}), "did not end in time"),
        (FakeToolbox({"fsid": ApiUnavailable("connection refused")}), "API: connection refused"),
        (FakeToolbox({"fsid": "[errno 2]"}), "not JSON"),
    ],
)
def test_a_ceph_that_cannot_answer_is_a_reason_to_wait(kube, reason):
    with pytest.raises(NotYet, match=reason):
        ask(kube, "rook-ceph", "ceph", "fsid")


def test_a_command_without_output_answers_none():
    assert ask(FakeToolbox({"health mute X": ""}), "rook-ceph", "ceph", "health", "mute", "X") is None


def test_a_command_that_knows_no_json_is_asked_for_none():
    asked = []

    @plays_kube
    class Toolbox(FakeToolbox):
        def exec(self, pod, argv, *, namespace, timeout):
            asked.append(argv)
            if "rm" in argv:
                raise ExecFailed("rbd rm", 16, "rbd: error: image still has watchers")
            return "elapsed: 1   ops: 1\n"

    bench = ("rbd", "bench", "--io-type", "write", "replicapool/bench")
    assert rook(Toolbox()).output_of(*bench, timeout=300) == "elapsed: 1   ops: 1\n"
    assert asked == [["timeout", "--kill-after=2", "300", *bench]]
    with pytest.raises(NotYet, match="rbd rm replicapool/bench: rbd: error: image still has watchers"):
        rook(Toolbox()).output_of("rbd", "rm", "replicapool/bench")


def rook(kube) -> Rook:
    return Rook(kube, Rendering("1.18.8", Path("nowhere"), SPEC))


def test_a_mark_taken_before_the_cut_refuses_the_old_maps_after_it():
    answers = {
        "osd dump": json.dumps(osd_dump((1, 1, 8), (1, 1, 9), (1, 1, 9), epoch=40)),
        "quorum_status": json.dumps(quorum_status("a", "b", "c", election_epoch=14)),
        "pg dump pgs": json.dumps({"pg_stats": [{"pgid": "1.0", "state": "active+clean", "reported_epoch": 40}]}),
    }
    kube = FakeToolbox(answers)
    baseline = rook(kube).baseline.now()
    assert (baseline.fsid, baseline.osd_ids) == (FSID, {0, 1, 2})

    conditions = [
        rook(kube).osds_up_from_boots_newer_than(baseline.osdmap_epoch),
        rook(kube).mons_in_quorum(elected_after=baseline.election_epoch),
        rook(kube).pgs_active_clean(baseline.osdmap_epoch),
    ]
    for condition in conditions:
        with pytest.raises(NotYet, match="before the fault"):
            condition.now()

    answers["osd dump"] = json.dumps(osd_dump((1, 1, 42), (1, 1, 43), (1, 1, 43), epoch=44))
    answers["quorum_status"] = json.dumps(quorum_status("a", "b", "c", election_epoch=18))
    answers["pg dump pgs"] = json.dumps({"pg_stats": [{"pgid": "1.0", "state": "active+clean", "reported_epoch": 44}]})
    for condition in conditions:
        condition.now()


def test_who_is_on_the_blocklist():
    dump = {**osd_dump((1, 1, 8)), "blocklist": {"10.0.0.1:0/7": "2026-11-24T09:07:12.000000+0000"}}
    assert rook(FakeToolbox({"osd dump": json.dumps(dump)})).blocklist.now() == {"10.0.0.1:0/7"}


def test_warnings_about_aes_keys_are_muted_and_others_are_not():
    kube = FakeToolbox(
        {
            "health detail": json.dumps(health(AUTH_INSECURE_KEYS_ALLOWED=False)),
            "health mute AUTH_INSECURE_KEYS_ALLOWED --sticky": "",
        }
    )
    with pytest.raises(NotYet, match="muted AUTH_INSECURE_KEYS_ALLOWED"):
        rook(kube).healthy.now()
    kube.answers["health detail"] = json.dumps(health(AUTH_INSECURE_KEYS_ALLOWED=True))
    assert rook(kube).healthy.now().ok

    kube.answers["health detail"] = json.dumps(health(POOL_NO_REDUNDANCY=False))
    with pytest.raises(NotYet, match="POOL_NO_REDUNDANCY"):
        rook(kube).healthy.now()
    assert [asked for asked in kube.asked if "mute" in asked] == [
        "tools-1: health mute AUTH_INSECURE_KEYS_ALLOWED --sticky"
    ]


@plays_kube
class InError(FakeToolbox):
    """A cluster that Rook has done with, and whose Ceph was in HEALTH_ERR when Rook last looked."""

    def get(self, kind, name, *, namespace="", api_version=""):
        return {"status": {"phase": "Ready", "ceph": {"health": "HEALTH_ERR"}}}


@pytest.mark.parametrize("code", ["AUTH_INSECURE_SERVICE_KEY_TYPE", "AUTH_INSECURE_SERVICE_TICKETS"])
def test_what_ceph_makes_of_aes_keys_keeps_no_cluster_from_being_ready(code):
    mute = f"health mute {code} --sticky"
    kube = InError({"health detail": json.dumps(health(**{code: False})), mute: ""})
    with pytest.raises(NotYet, match=f"muted {code}"):
        rook(kube).cluster_ready.now()
    assert f"tools-1: {mute}" in kube.asked


def test_what_is_muted_is_allowed_in_the_evidence_of_a_run():
    allowed = (Path(deploy.__file__).parents[1] / "evidence" / "allowed.toml").read_text(encoding="utf-8").splitlines()
    assert {f'code = "{code}"' for code in deploy.status.ACCEPTED_WARNINGS} <= set(allowed)


def test_any_other_error_of_ceph_does_and_is_not_muted():
    kube = InError({"health detail": json.dumps(health(PG_DAMAGED=False))})
    with pytest.raises(NotYet, match="no usable status of Ceph yet: HEALTH_ERR"):
        rook(kube).cluster_ready.now()
    assert not any("mute" in asked for asked in kube.asked)


@plays_kube
class FakeCluster(FakeToolbox):
    """A cluster where everything is as soon as it is applied; `log` tells what happened in which order."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(answers)
        self.log: list[str] = []

    def apply(self, objects):
        self.log += [f"apply {each['kind']}/{each['metadata']['name']}" for each in objects]

    def get(self, kind, name, **_options):
        if kind == "CephBlockPool":
            return {"status": {"phase": "Ready"}}
        if kind == "CephCluster":
            return {"status": {"phase": "Ready", "ceph": {"health": "HEALTH_WARN"}}}
        if kind == "ConfigMap":
            return {"data": {"data": "a=10.0.0.1:6789"}}
        if kind == "Deployment":
            return {
                "kind": kind,
                "metadata": {"generation": 1},
                "spec": {"replicas": 1},
                "status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1},
            }
        return {"metadata": {"name": name}}


def test_deploy_applies_all_it_can_before_it_waits(monkeypatch):
    def manifest(kind, name):
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}

    stage = deploy.manifests.Stage([manifest("ConfigMap", "operator")])
    monkeypatch.setattr(deploy.manifests, "operator_stages", lambda *_args, **_options: [stage])
    monkeypatch.setattr(deploy.manifests, "crd_has_field", lambda *_args: False)
    monkeypatch.setattr(deploy.manifests, "toolbox", lambda *_args: [manifest("Deployment", "tools")])
    kube = FakeCluster(
        {
            "osd dump": json.dumps(osd_dump((1, 1, 8), (1, 1, 9), (1, 1, 9))),
            "osd pool ls detail": json.dumps(pools(mgr={"mgr": {}})),
            "health detail": json.dumps(health()),
            "pg dump pgs": json.dumps({"pg_stats": [{"pgid": "1.0", "state": "active+clean", "reported_epoch": 9}]}),
        }
    )

    @contextmanager
    def phase(name):
        kube.log.append(name)
        yield

    Rook(kube, Rendering("1.18.8", Path("nowhere"), SPEC), phase=phase).deploy()
    assert kube.log == [
        "Rook operator Ready",
        "apply ConfigMap/operator",
        "apply CephCluster/rook-ceph",
        "CephCluster Ready",
        "apply Deployment/tools",
        "OSDs up",
        "apply CephBlockPool/replicapool",
        "pool Ready",
        "HEALTH_OK",
    ]


@plays_rook_and_kube
class FakeOsds(FakeToolbox):
    """OSDs that boot anew when the pods of one are made anew; `types` are the labels that Rook gave those of each."""

    def __init__(self, *types: str) -> None:
        super().__init__(
            {
                "osd dump": json.dumps(osd_dump((1, 1, 8), (1, 1, 9), (1, 1, 9), epoch=40)),
                "quorum_status": json.dumps(quorum_status("a", "b", "c")),
                "osd pool ls detail": json.dumps(pools(mgr={"mgr": {}})),
                "health detail": json.dumps(health()),
                "pg dump pgs": json.dumps(
                    {"pg_stats": [{"pgid": "1.0", "state": "active+clean", "reported_epoch": 44}]}
                ),
            }
        )
        self.types = types
        self.patched: dict[str, dict] = {}
        self.phases: list[str] = []

    def list(self, kind, **selectors):
        if kind != "Deployment":
            return super().list(kind, **selectors)
        assert selectors == {"namespace": "rook-ceph", "labels": "app=rook-ceph-osd"}
        labels = [{"app": "rook-ceph-osd"} | ({"device-type": each} if each else {}) for each in self.types]
        return [
            {
                "metadata": {"name": f"rook-ceph-osd-{n}", "labels": {"ceph-osd-id": str(n)}},
                "spec": {"template": {"metadata": {"labels": each}}},
            }
            for n, each in enumerate(labels)
        ]

    def patch(self, kind, name, patch, *, namespace):
        assert (kind, namespace) == ("Deployment", "rook-ceph")
        self.patched[name] = patch
        self.answers["osd dump"] = json.dumps(osd_dump((1, 1, 42), (1, 1, 43), (1, 1, 43), epoch=44))

    @contextmanager
    def phase(self, name):
        self.phases.append(name)
        yield

    def wait_for_operator_convergence(self):
        Rook(self, Rendering("1.18.8", Path("nowhere"), SPEC), phase=self.phase).wait_for_operator_convergence()


def test_osds_without_a_label_that_rook_forgets_are_left_alone():
    kube = FakeOsds("", "", "")
    kube.wait_for_operator_convergence()
    assert (kube.patched, kube.phases, kube.asked) == ({}, [], [])


def test_a_label_that_rook_forgets_is_taken_away_where_it_is_and_the_boots_are_waited_for():
    kube = FakeOsds("loop", "", "loop")
    kube.wait_for_operator_convergence()
    labels = {"metadata": {"labels": {"device-type": None}}}
    forget = {**labels, "spec": {"template": labels}}
    assert kube.patched == {"rook-ceph-osd-0": forget, "rook-ceph-osd-2": forget}
    assert kube.phases == ["OSDs converged"]
    assert kube.asked[-2:] == ["tools-1: pg dump pgs", "tools-1: health detail"]  # after all of it


def test_osds_that_do_not_boot_anew_have_not_converged(monkeypatch):
    monkeypatch.setattr(deploy, "OSDS_UP", 0)
    monkeypatch.setattr(FakeOsds, "patch", lambda *_args, **_options: None)
    with pytest.raises(DeadlineExceeded, match="OSDs not restarted yet: 0, 1, 2"):
        FakeOsds("loop", "loop", "loop").wait_for_operator_convergence()


def pools(*, mgr: dict) -> list[dict]:
    """`ceph osd pool ls detail`, with what the mgr's own pool is said to be for."""
    return [
        {"pool_name": "replicapool", "application_metadata": {}},  # Rook's to say
        {"pool_name": ".mgr", "application_metadata": mgr},
    ]


def test_a_pool_of_the_mgr_that_it_did_not_finish_is_finished():
    enable = "osd pool application enable .mgr mgr"
    kube = FakeCluster({"osd pool ls detail": json.dumps(pools(mgr={})), enable: ""})
    with pytest.raises(NotYet, match=r"pool \.mgr had no application"):
        Rook(kube, Rendering("1.18.8", Path("nowhere"), SPEC))._healthy_and_clean.now()
    assert kube.asked == ["tools-1: osd pool ls detail", f"tools-1: {enable}"]


def test_a_mark_is_the_same_after_json():
    baseline = CephBaseline(fsid=FSID, osd_ids=frozenset({2, 0, 10}), osdmap_epoch=40, election_epoch=14)
    assert baseline.as_dict()["osd_ids"] == [0, 2, 10]
    assert CephBaseline.from_dict(json.loads(json.dumps(baseline.as_dict()))) == baseline
