"""What is read of a cluster that runs: which logs, since when, and what in them is a finding."""

import pytest
from fakes import plays_kube
from rookery.evidence import gathering
from rookery.kube import ApiUnavailable, KubeError

NS = "rook-ceph"
SINCE = 1_795_949_900.25  # 2026-11-29T10:58:20.25Z


def pod(name, **containers):
    """Its containers by their names, each with how often it was started anew; None for one that never ran."""
    return {
        "metadata": {"name": name, "namespace": NS},
        "status": {
            "containerStatuses": [
                {"name": container, "restartCount": restarts or 0, "containerID": restarts is not None and "it"}
                for container, restarts in containers.items()
            ]
        },
    }


@plays_kube
class FakeKube:
    """Has logs by pod and container, `!` after that of the run before the last restart."""

    def __init__(self, pods, logs):
        self.pods, self.texts, self.asked = pods, logs, []

    def list(self, kind, *, namespace=None, labels="", fields="", api_version=None):
        assert kind == "Pod"
        return self.pods if namespace == NS else []

    def logs(self, pod, *, namespace, container=None, previous=False, since=None, tail_lines=None, limit_bytes=None):
        self.asked.append((f"{pod}/{container}{'!' if previous else ''}", namespace, since, tail_lines, limit_bytes))
        found = self.texts.get(self.asked[-1][0], "")
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def kubelets(monkeypatch):
    """What kubelets said of a panic, by node."""
    said = {}

    def kubelet_lines(name, pattern, since):
        assert pattern == gathering.PANICS
        assert since >= SINCE
        return said.get(name, [])

    monkeypatch.setattr(gathering.nodes, "kubelet_lines", kubelet_lines)
    return said


def findings(kube):
    found = gathering.findings(kube, [NS, "empty"], ["worker", "worker2"], since=SINCE)
    return [(each.who, each.text) for each in found]


def entry(text, level="ERR", at="2026-11-29T10:58:29.307562+0000"):
    return f"cluster {at} mon.a (mon.0) 7 : cluster [{level}] {text}"


def test_each_kind_of_log_is_read_for_what_it_may_have(kubelets):
    scrub = entry("1.f scrub 1 errors")
    kubelets["worker2"] = ["panic: assignment to entry in nil map"]
    kube = FakeKube(
        [pod("mon-a", mon=0), pod("mon-b", mon=0), pod("osd-0", osd=1), pod("operator", operator=0)],
        {
            "mon-a/mon": f"{entry('older', at='2026-11-29T10:58:20.1+0000')}\n{scrub}\n{entry('calm', 'INF')}",
            "mon-b/mon": f"{scrub}\nFAILED ceph_assert(of a mon)",
            "osd-0/osd": entry("no mon has said this"),
            "osd-0/osd!": "up\n/src/PG.cc: 42: FAILED ceph_assert(x)",
            "operator/operator": 'Observed a panic: "nil"',
        },
    )
    assert findings(kube) == [
        ("cluster log, mon.a", "[ERR] 1.f scrub 1 errors"),
        ("mon-b, mon", "FAILED ceph_assert(of a mon)"),
        ("osd-0, osd", "/src/PG.cc: 42: FAILED ceph_assert(x)"),
        ("operator, operator", 'Observed a panic: "nil"'),
        ("kubelet of worker2", "panic: assignment to entry in nil map"),
    ]


def test_what_has_run_is_asked_for_whole_seconds_and_no_earlier(kubelets):
    kube = FakeKube([pod("osd-0", osd=2, sidecar=0, never=None)], {})
    assert findings(kube) == []
    assert sorted(kube.asked) == [
        (log, NS, 1_795_949_901, None, None) for log in ("osd-0/osd", "osd-0/osd!", "osd-0/sidecar")
    ]


def test_a_pod_that_went_reports_nothing_and_hides_nothing(kubelets):
    gone = KubeError('pods "osd-0" not found', status=404, about="pods")
    kube = FakeKube([pod("osd-0", osd=0), pod("osd-1", osd=0)], {"osd-0/osd": gone, "osd-1/osd": "panic: it ends"})
    assert findings(kube) == [("osd-1, osd", "panic: it ends")]


def test_an_api_that_does_not_answer_is_reported(kubelets):
    kube = FakeKube([pod("osd-0", osd=0)], {"osd-0/osd": ApiUnavailable("refused")})
    with pytest.raises(ApiUnavailable, match="refused"):
        findings(kube)
