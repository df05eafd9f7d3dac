"""Whose fault it was: each row of the table in docs/writing-scenarios.md, through a pytest that runs the scenario."""

import errno
import json
import re
from pathlib import Path

import pytest
from pytester_runs import Cluster
from rookery.errors import (
    AnotherCluster,
    DeadlineExceeded,
    InfrastructureError,
    MachineTooSlow,
    RookeryError,
    Unknown,
    UsageError,
)
from rookery.evidence import gate
from rookery.kube import ApiUnavailable, ExecFailed
from rookery.machine import containers, locks
from rookery.machine.run import CommandFailed
from rookery.plugin import expectations, outcomes, session
from rookery.plugin.outcomes import blamed, exit_status, outcome_of
from rookery.workloads.volumes import VolumeFailed

DOCS = Path(__file__).parents[2] / "docs" / "writing-scenarios.md"

BEGIN = """
from functools import partial
import pytest
from rookery.plugin import session
from rookery.errors import *
from rookery.kube import ApiUnavailable, ExecFailed
from rookery.waiting import NotYet, condition
from rookery.workloads.volumes import Pod

class Kube:
    def __init__(self, answer): self.answer = answer
    def exec(self, *_, **__):
        if isinstance(self.answer, Exception): raise self.answer
        return self.answer

def pod(answer): return Pod(Kube(answer), "writer", "volumes")
@condition("OSDs up", within=1)
def no_osd(): raise NotYet("2 osds down")
"""

# By the words of the table: what the scenario's test has in it, the outcome, and the exit status of the run.
ROWS = {
    "it passes": ("pass", "passed", 0),
    "it is skipped": ("pytest.skip('for another driver')", "skipped", 0),
    "an assertion does not hold: a row is lost, a checksum is another": ("assert 1 == 2", "failed", 1),
    "a file on a volume is gone": (
        "pod(ExecFailed('sha256sum', 1, 'sha256sum: /volume/a: No such file or directory')).checksum('a')",
        "failed",
        1,
    ),
    "reading a volume fails (EIO)": (
        "pod(ExecFailed('sha256sum', 1, 'sha256sum: /volume/a: Input/output error')).checksum('a')",
        "failed",
        1,
    ),
    "reading a volume never ends": ("pod(ExecFailed('sha256sum', None, '')).checksum('a')", "failed", 1),
    "a volume has become read-only": (
        "pod(ExecFailed('sh', 1, 'touch: cannot touch: Read-only file system')).sh('touch /volume/a')",
        "failed",
        1,
    ),
    "a condition of the scenario does not hold in time": ("no_osd.wait(within=0)", "failed", 1),
    "a condition that was to stay so ceases": ("no_osd.stays(10)", "failed", 1),
    "what comes back is another Ceph cluster, or has other OSDs": ("raise AnotherCluster('fsid')", "failed", 1),
    "it leaves volumes behind (`LeakDetected`)": ("cluster.left = ['csi-vol-1: nobody has it']", "failed", 1),
    "the cluster says what nobody expects, of the core, or with `--unexpected=all` (`UnexpectedEvidence`)": (
        "cluster.says('osd/PG.cc: 42: FAILED ceph_assert(x)')",
        "failed",
        1,
    ),
    "it did not prove what it claims (`Unknown`)": ("raise Unknown('no write was in flight')", "unknown", 1),
    "it is wrong: AttributeError, NameError, TypeError, ImportError": ("cluster.storage_recoverd()", "broken", 2),
    "it takes a condition for what it found": (
        "assert no_osd",
        "broken",
        2,
    ),
    "what was asked for does not exist or is refused (`UsageError`)": (
        "raise UsageError('no such Rook', hint='h')",
        "broken",
        2,
    ),
    "a program is not in the image of a pod": (
        "pod(ExecFailed('sh', 127, 'sh: rsync: not found')).sh('rsync')",
        "broken",
        2,
    ),
    "docker or the machine refuses": ("raise InfrastructureError('docker is gone', hint='h')", "infrastructure", 3),
    "docker, a lock of the harness or a node is too slow": (
        "raise MachineTooSlow('every container to be dead', 40, 'worker still running')",
        "infrastructure",
        3,
    ),
    "a command in a pod cannot be begun, or its stream breaks off": (
        "pod(ApiUnavailable('exec: the stream broke off')).checksum('a')",
        "infrastructure",
        3,
    ),
    "the command in a pod is killed, as when its container ends": (
        "pod(ExecFailed('sh', 137, 'Killed')).sh('cat /volume/a')",
        "infrastructure",
        3,
    ),
    "the machine has no room left (ENOSPC of the harness's own files)": (
        "raise OSError(28, 'No space left on device')",
        "infrastructure",
        3,
    ),
    "something failed, and the machine was short of room meanwhile": (
        "request.node.stash[running.RESULTS].disk_space_is_short = lambda: '/state: 3 MiB free at the least'\n"
        "    pod(ExecFailed('sync', 1, 'sync: Input/output error')).sh('sync')",
        "infrastructure",
        3,
    ),
    "a fixture does not come up, or its clean-up fails": ("session.teardown_fails()", "infrastructure", 3),
}
FIXTURE_THAT_FAILS = "no_osd.wait(within=0)"


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setattr(session, "StorageCluster", Cluster)
    monkeypatch.setattr(session, "LEAKS_GONE", 0)
    monkeypatch.setattr(Cluster, "stored", {"storage-ready"})
    monkeypatch.setattr(
        expectations, "findings", lambda kube, *_, since: gate.of_log("osd.0", getattr(kube, "said", ""))
    )
    monkeypatch.setenv("ROOKERY_UNEXPECTED", "all")

    def run(text, *options):
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options, no_reraise_ctrlc=True)

    return run


def reported(pytester):
    (report,) = pytester.path.glob("results/2*/*/report.json")
    return json.loads(report.read_text(encoding="utf-8"))["outcome"]


@pytest.mark.parametrize(("body", "outcome", "status"), ROWS.values(), ids=ROWS)
def test_whose_fault_it_was(run, pytester, body, outcome, status):
    fixture = ""
    if body == "session.teardown_fails()":
        fixture, body = f"@pytest.fixture\ndef workload():\n    yield\n    {FIXTURE_THAT_FAILS}\n", "pass"
    asked = "cluster, rookery_results, request" + (", workload" if fixture else "")
    ran = run(f"{BEGIN}\nfrom rookery.plugin import running\n{fixture}\ndef test_it({asked}):\n    {body}\n")
    assert (reported(pytester), ran.ret) == (outcome, status)


FOUND_AT_COLLECTION = {
    "a syntax error": "def test_it(cluster):\n    wait_for(\n",
    "an import that fails": "from rookery.workloads import casandra\ndef test_it(cluster):\n    pass\n",
    "a mistake at its top": "bound.wait()\ndef test_it(cluster):\n    pass\n",
    "a fixture that nobody provides": "def test_a(cluster):\n    pass\ndef test_it(cluster, cephs):\n    pass\n",
    "a fixture's fixture that nobody provides": (
        "import pytest\n@pytest.fixture\ndef ring(cassandr):\n    pass\ndef test_it(cluster, ring):\n    pass\n"
    ),
    "the only fixture it asks for is misspelt": (
        "import pytest\npytestmark = pytest.mark.scenario\ndef test_it(clustr):\n    pass\n"
    ),
}


BY_WORKERS = ("a syntax error", "a fixture that nobody provides")


@pytest.mark.parametrize(
    ("found", "options"),
    [*((found, ()) for found in FOUND_AT_COLLECTION), *((found, ("-n1",)) for found in BY_WORKERS)],
)
def test_a_mistake_that_shows_at_collection_ends_the_run_before_anything_is_deployed(run, pytester, found, options):
    assert run(FOUND_AT_COLLECTION[found], "--all", *options).ret == 2
    assert not (pytester.path / "results").exists(), "no scenario has begun"


def test_a_fixture_that_nobody_provides_is_named_with_the_one_that_was_meant(run):
    ran = run("def test_a(cephfs): pass\ndef test_it(cluster, cephs): pass\n")
    ran.stdout.fnmatch_lines(["*::test_it asks for a fixture that nobody provides: 'cephs' (is it 'cephfs'?)*"])


def test_parameters_and_pytests_own_fixtures_are_provided(run):
    ran = run(
        "import pytest\n"
        "@pytest.mark.parametrize('size', [1, 2])\n"
        "@pytest.mark.parametrize('results_of', ['a'], indirect=True)\n"
        "def test_it(cluster, request, tmp_path, size, results_of): pass\n"
        "@pytest.fixture\n"
        "def results_of(request): return request.param\n"
    )
    ran.assert_outcomes(passed=2)


def test_tests_that_need_no_cluster_are_left_to_pytest(run):
    ran = run("def test_it(nobody_has_it): pass\ndef test_other(): pass\n")
    ran.assert_outcomes(passed=1, errors=1)


def test_the_table_of_the_docs_has_these_rows():
    table = DOCS.read_text(encoding="utf-8").partition("## Whose fault it was")[2].partition("\n## ")[0]
    found = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE))
    wanted = {row: f"{outcome} | {status}" for row, (_, outcome, status) in ROWS.items()}
    wanted["when scenarios are collected: a syntax error, an import that fails, a fixture that nobody provides"] = (
        "none begins | 2"
    )
    assert {row: told for row, told in found.items() if row not in ("what happens", "---")} == wanted


LATE = DeadlineExceeded("HEALTH_OK", 60, "2 osds down")
LOST = VolumeFailed("sha256sum", 1, "No such file")


@pytest.mark.parametrize(
    ("error", "at_setup", "outcome"),
    [
        (None, False, "passed"),
        (AssertionError("row lost"), False, "failed"),
        (AssertionError("not ready"), True, "infrastructure"),
        (LATE, False, "failed"),
        (LATE, True, "infrastructure"),
        (LOST, False, "failed"),
        (LOST, True, "failed"),  # that it is the storage's is known where it is raised
        (MachineTooSlow("every container to be dead", 40, "worker"), False, "infrastructure"),
        (Unknown("nothing in flight"), False, "unknown"),
        (Unknown("nothing in flight"), True, "unknown"),
        (InfrastructureError("docker is gone", hint="h"), False, "infrastructure"),
        (CommandFailed(["docker"], 1, ""), False, "infrastructure"),
        (ApiUnavailable("no answer"), False, "infrastructure"),
        (ExecFailed("ceph", 1, ""), False, "infrastructure"),
        (OSError(errno.ENOSPC, "full"), False, "infrastructure"),
        (OSError(errno.EIO, "broken"), False, "failed"),
        (MemoryError(), False, "infrastructure"),
        (UsageError("no such Rook", hint="h"), False, "broken"),
        (UsageError("no such Rook", hint="h"), True, "broken"),
        (TypeError("'NoneType' object is not iterable"), True, "broken"),
        (AttributeError("no attribute 'wirte'"), False, "broken"),
        (KeyError("row 7"), False, "failed"),
        (KeyboardInterrupt(), False, "interrupted"),
        (pytest.skip.Exception("for another driver"), True, "skipped"),
    ],
)
def test_the_outcome_is_what_an_exception_means_for_the_storage(error, at_setup, outcome):
    assert outcome_of(error, at_setup=at_setup) == outcome


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([InfrastructureError("i", hint="h")], 3),
        ([InfrastructureError("i", hint="h"), UsageError("b", hint="h")], 2),
        ([InfrastructureError("i", hint="h"), AttributeError("a")], 2),
        ([UsageError("b", hint="h"), InfrastructureError("i", hint="h"), AssertionError("a")], 1),
        ([AttributeError("a"), Unknown("u")], 1),
        ([LATE], 1),
        ([MachineTooSlow("w", 1, "r")], 3),
        ([KeyboardInterrupt()], 1),
        ([], 0),
    ],
)
def test_the_exit_status_is_that_of_the_weightiest(failures, status):
    assert exit_status(failures) == status


@pytest.mark.parametrize("error", [LATE, AssertionError("lost"), TimeoutError("slow")])
def test_what_a_fixture_could_not_provide_or_clean_up_is_infrastructure_with_its_cause(error):
    for when in ("setup", "teardown", None):
        found = blamed(error, when)
        assert isinstance(found, InfrastructureError)
        assert found.__cause__ is error
        assert type(error).__name__ in str(found)
    assert blamed(error, "call") is error


def test_a_fixtures_error_is_reported_in_its_own_words_with_its_own_hint_if_it_has_one():
    hinted = RookeryError("no such tag", hint="another tag")
    told = {error: blamed(error, "setup") for error in (hinted, LATE, TimeoutError("slow"))}
    assert [(found.message, found.hint) for found in told.values()] == [
        ("RookeryError: no such tag", "another tag"),
        (f"DeadlineExceeded: {LATE}", outcomes._UNEXPECTED),
        ("TimeoutError: slow", outcomes._UNEXPECTED),
    ]


@pytest.mark.parametrize(
    "error", [LOST, AnotherCluster("fsid"), Unknown("u"), UsageError("b", hint="h"), NameError("n")]
)
def test_what_is_known_for_what_it_is_stays_so_whenever_it_comes(error):
    assert all(blamed(error, when) is error for when in ("setup", "call", "teardown"))


@pytest.mark.parametrize(
    ("error", "excused"), [(LOST, True), (Unknown("u"), True), (AssertionError("a"), True), (NameError("n"), False)]
)
def test_a_machine_without_room_excuses_what_failed_and_no_mistake(error, excused):
    full = InfrastructureError("no room in /var", hint="remove something")
    found = blamed(error, "call", machine=full)
    assert (outcome_of(found, at_setup=False) == "infrastructure") is excused
    assert ("no room in /var" in str(found)) is excused


def test_what_failed_is_reported_beside_what_the_machine_was_short_of_and_its_hint():
    found = blamed(LOST, "call", machine=InfrastructureError("no room in /var", hint="remove something"))
    assert isinstance(found, InfrastructureError)
    assert (found.hint, found.__cause__) == ("remove something", LOST)
    assert f"VolumeFailed: {LOST}" in str(found)


def test_a_lock_that_nobody_gives_back_is_the_machines_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "make_state_dir", lambda: tmp_path)
    with locks.machine_lock("images"), pytest.raises(MachineTooSlow), locks.machine_lock("images", within=0):
        pass


def test_a_container_that_does_not_die_is_the_machines_fault(monkeypatch):
    monkeypatch.setattr(containers, "KILL_SECONDS", 0)
    monkeypatch.setattr(containers, "STUCK_SECONDS", 0)
    monkeypatch.setattr(containers, "_fuse_connections", lambda names: set())
    monkeypatch.setattr(containers, "docker", lambda *_, **__: None)
    monkeypatch.setattr(containers, "docker_output", lambda *_: "/worker true")
    with pytest.raises(InfrastructureError):
        containers.kill(["worker"])


def test_everything_about_the_machine_waits_by_the_machines_way_to_wait():
    harness = Path(session.__file__).parents[1]
    files = [file for room in ("machine", "cluster", "images", "browser") for file in harness.glob(f"{room}/**/*.py")]
    assert len(files) > 20
    assert [file.name for file in files if re.search(r"\bwait_for\(", file.read_text(encoding="utf-8"))] == []
