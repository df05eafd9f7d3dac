"""The folder of a run as a user finds it: after a failure, after a run that was killed, and beside other tests."""

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from _pytest.junitxml import LogXML
from ledgers import report
from rookery import cli, signatures, waiting
from rookery.history.operations import Operation
from rookery.plugin import reporting
from rookery.report import pages

pytest_plugins = "pytester"

# `results` alone: no cluster is asked for, and what is written is the same.
FAILS = """
    import logging
    import pytest
    from rookery.waiting import NotYet, wait_for

    def never():
        raise NotYet("1 of 3 OSDs up")

    def test_it(rookery_results):
        '''The OSDs come back.'''
        results = rookery_results
        logging.getLogger("rookery.scenarios").info("the nodes are %s", "off")
        with results.phase("nodes Ready"):
            pass
        (results.logs_folder("at-the-end") / "pod.log").write_text(
            "a\\nSeed provider couldn't lookup host cassandra-1\\n"
        )
        with results.phase("OSDs up"):
            wait_for(never, what="OSDs up", within=0.01)

    def test_other(rookery_results):
        assert [1, 2] == [1, 3], "row 2 is lost"
"""


@pytest.fixture
def failed(pytester):
    pytester.makepyfile(test_osds=FAILS)
    options = ("-p", "no:cacheprovider", "-p", "no:randomly", "--rook", "1.17.9", "--fault-seed", "7")
    return pytester.runpytest_inprocess(*options)


def run_of(pytester):
    (found,) = pytester.path.glob("results/2*")
    return found


def test_a_failure_is_one_block_that_reports_how_to_do_it_again(failed, pytester):
    told = failed.stdout.str()
    block = told[told.index("  scenario test_osds.py::test_it") :].partition("\n_")[0]
    folder = run_of(pytester).relative_to(pytester.path) / "it"
    for line in (
        "  scenario test_osds.py::test_it: failed",
        "  title    The OSDs come back.",
        r"  phase    OSDs up, failed after \d+\.\d s",
        r'  at       test_osds.py:\d+: wait_for\(never, what="OSDs up", within=0.01\)',
        r"  reason   DeadlineExceeded: OSDs up: not within 0 s; last reason: 1 of 3 OSDs up",
        r"  known    SEED_LOOKUP_FAILED, see https://\S+",
        r"           logs/at-the-end/pod.log:2: Seed provider couldn't lookup host cassandra-1",
        rf"  folder   \S*{folder} \(traceback.txt has every frame\)",
        "  again    pytest test_osds.py::test_it --fault-seed=7 --rook=1.17.9",
        r"           python3 -m tox -e e2e -- test_osds.py::test_it --fault-seed=7 --rook=1.17.9",
    ):
        assert re.search(f"^{line}$", block, re.MULTILINE), line
    assert "\nFAILED test_osds.py::test_it - DeadlineExceeded: OSDs up: not within" in told
    assert "tenacity" not in told, "the frames of waiting are folded away"
    assert "tenacity" in (run_of(pytester) / "it/traceback.txt").read_text(encoding="utf-8")


LEDGER = report(url=signatures.SEED_LOOKUP_FAILED.source, cause="Seeds are looked up by name.")


def test_what_is_known_has_the_cause_that_the_ledger_beside_its_file_has(pytester, monkeypatch):
    pytester.mkdir("bugs").joinpath("ledger.toml").write_text(LEDGER, encoding="utf-8")
    pytester.makepyfile(test_osds=FAILS)
    pytester.runpytest_inprocess("-p", "no:cacheprovider")
    page = run_of(pytester) / "it/index.html"
    for _ in range(2):
        assert "</a>: Seeds are looked up by name." in page.read_text(encoding="utf-8")
        page.unlink()
        assert cli.main(["report", str(run_of(pytester))]) == 0


def test_an_assertion_keeps_its_own_lines(failed):
    failed.stdout.fnmatch_lines(["*assert *1, 2* == *1, 3*", "*scenario test_osds.py::test_other: failed"])


def test_the_run_has_its_facts_its_log_and_one_junit(failed, pytester):
    folder = run_of(pytester)
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (facts["schema"], facts["outcome"], facts["exit_status"]) == ("rookery.run/1", "finished", 1)
    assert (facts["settings"]["rook"], facts["seeds"]["fault_seed"]) == ("1.17.9", 7)
    assert facts["machine"]["cpus"] == os.cpu_count()
    log = (folder / "run.log").read_text(encoding="utf-8")
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z the nodes are off$", log, re.MULTILINE)
    assert "1 of 3 OSDs up" in log
    suite = ElementTree.fromstring((folder / "junit.xml").read_bytes()).find("testsuite")
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["2", "2", "0"]
    assert {each.get("name"): each.get("value") for each in suite.find("properties")}["rook"] == "1.17.9"
    properties = {each.get("name"): each.get("value") for each in suite.find("testcase/properties")}
    assert properties["outcome"] == "failed"
    assert os.readlink(folder.parent / "latest") == folder.name


def test_a_run_that_ended_reports_which_versions_and_images_its_scenarios_used(pytester):
    text = """
        def test_it(rookery_results):
            rookery_results.record(ceph="quay.io/ceph/ceph:v18.2.7", images={"kindest/node:v1.32.0": "the vendor's"})
        def test_other(rookery_results):
            rookery_results.record(ceph="quay.io/ceph/ceph:v19.2.1")
    """
    pytester.makepyfile(text)
    pytester.runpytest_inprocess("-p", "no:cacheprovider")
    facts = json.loads((run_of(pytester) / "run.json").read_text(encoding="utf-8"))
    assert facts["versions"]["ceph"] is None
    assert facts["used_versions"] == {"ceph": ["quay.io/ceph/ceph:v18.2.7", "quay.io/ceph/ceph:v19.2.1"]}
    assert facts["used_images"] == {"kindest/node:v1.32.0": "the vendor's"}


def test_every_field_is_described(failed, pytester):
    described = re.findall(
        r"`(\w+)`", (Path(__file__).parents[2] / "docs/reference/results.md").read_text(encoding="utf-8")
    )
    for file in (run_of(pytester) / "run.json", *run_of(pytester).glob("it/*.json")):
        written = json.loads(file.read_text(encoding="utf-8"))
        assert written.keys() - {"schema"} - set(described) == set(), file.name
        assert written["schema"] == f"rookery.{file.stem}/1"


def test_every_field_of_a_history_is_described():
    text = (Path(__file__).parents[2] / "docs/reference/results.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \|", text[text.index("## The history") :].partition("\n## ")[0], re.MULTILINE)
    outcomes = {"ok", "fail", "info"}
    assert set(told) == {*Operation.__struct_fields__, *outcomes}


def test_every_page_is_there_and_its_links_lead_somewhere(failed, pytester):
    for page in (run_of(pytester) / "index.html", *run_of(pytester).glob("*/index.html")):
        links = re.findall(r'href="([^"]+)"', page.read_text(encoding="utf-8"))
        assert links
        for link in links:
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page}: {link}"


def test_a_run_without_results_makes_no_folder(pytester):
    pytester.makepyfile("def test_it(): assert False")
    pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert not (pytester.path / "results").exists()


def test_workers_of_xdist_share_the_folder_of_their_run(pytester):
    pytester.makepyfile(
        """
        import logging
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(rookery_results, number): logging.getLogger("rookery.scenarios").info("n%d", number)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2").assert_outcomes(passed=4)
    folder = run_of(pytester)
    assert len(list(folder.glob("it*/index.html"))) == 4
    assert len(ElementTree.fromstring((folder / "junit.xml").read_bytes()).findall(".//testcase")) == 4
    said = re.findall(r"Z gw\d n(\d)$", (folder / "run.log").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(said) == list("0123")


def test_what_is_waited_for_stands_in_the_log_of_the_run_and_is_not_shown(pytester, monkeypatch):
    pytester.makepyfile(FAILS)
    monkeypatch.setattr(waiting, "LOGGED_EVERY", 0)
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    log = (run_of(pytester) / "run.log").read_text(encoding="utf-8")
    assert re.search(r"Z OSDs up: not for 0 of 0 s: 1 of 3 OSDs up$", log, re.MULTILINE)
    assert "not for 0 of 0 s" not in ran.stdout.str() + ran.stderr.str()


# What is killed prints `half way` once its page says what it has to say.
KILLED = """
    import logging
    import pytest
    from threading import Event
    from rookery.waiting import NotYet, wait_for

    def page_says(results, *texts):
        def there():
            page = results.path("index.html").read_text()
            for text in texts:
                if text not in page:
                    raise NotYet(text)
        wait_for(there, what="the page", within=30)
        logging.getLogger("rookery.scenarios").info("half way")
        Event().wait()

    @pytest.fixture
    def slow(rookery_results, request):
        stage = request.node.name.rpartition("_")[2]
        if stage == "setup":
            with rookery_results.phase("began"): pass
            with rookery_results.phase("goes on"):
                page_says(rookery_results, "<td>began</td>", "was in its setup, in the phase <strong>goes on</strong>")
        yield rookery_results
        if stage == "teardown":
            with rookery_results.phase("began"): pass
            page_says(rookery_results, "<td>began</td>", "was in its teardown")

    def test_first(rookery_results): pass
"""
STAGES = {
    "setup": "    def test_setup(slow): pass\n",
    "teardown": "    def test_teardown(slow): pass\n",
    "call": """
    def test_call(slow):
        with slow.phase("began"): pass
        slow.record(faults=[{"name": "node kill", "at": 1795902173.0, "proof": "seen dead"}])
        page_says(slow, "<td>began</td>", "was in its call", "<td>seen dead</td>")
""",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_was_killed_leaves_files_that_can_be_read_and_pages_that_report_how_far_it_came(pytester, stage):
    pytester.makepyfile(test_killed=KILLED + STAGES[stage])
    pytester.makeconftest("from rookery.plugin import reporting\nreporting.PAGES_EVERY = reporting.PAUSE = 0")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, encoding="utf-8") as run:
        assert any("half way" in line for line in run.stdout)
        run.kill()
    assert run.returncode == -signal.SIGKILL
    folder = run_of(pytester)
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["outcome"] == "running"
    assert "half way" in (folder / "run.log").read_text(encoding="utf-8")
    timings = json.loads((folder / stage / "timings.json").read_text(encoding="utf-8"))
    assert (timings["outcome"], [phase["name"] for phase in timings["phases"]]) == ("running", ["began"])
    cases = ElementTree.fromstring((folder / "junit.xml").read_bytes()).findall(".//testcase")
    assert cases[0].get("name") == "test_first"
    run_page = (folder / "index.html").read_text(encoding="utf-8")
    for page in (run_page, (folder / stage / "index.html").read_text(encoding="utf-8")):
        assert "It has not come to its end" in page
    assert f'<a href="{stage}/index.html">{stage}</a>' in run_page
    again = subprocess.run(
        [sys.executable, "-m", "rookery", "report"], capture_output=True, encoding="utf-8", check=False
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("index.html: 2 scenarios\n")
    assert "<td>began</td>" in (folder / stage / "index.html").read_text(encoding="utf-8")


def test_pages_of_what_runs_are_made_no_oftener_than_may_be_and_of_the_last_change_as_well(monkeypatch):
    monkeypatch.setattr(reporting, "PAGES_EVERY", 0.5)
    made, due = [], threading.Event()
    keeping = reporting._Meanwhile(lambda: made.append(threading.current_thread()) or (len(made) == 2 and due.set()))
    keeping.make()
    for _ in range(10):
        keeping.changed()
    assert len(made) == 1
    assert due.wait(10)
    assert made[1] is not threading.current_thread(), "whoever has changed something has not waited"
    keeping.changed()
    keeping.close()
    keeping.changed()
    keeping.make()
    assert len(made) == 2, "its end has pages of its own"


def test_nobody_waits_for_pages_that_are_being_made(monkeypatch):
    monkeypatch.setattr(reporting, "PAGES_EVERY", 0.01)
    begun, go_on, made = threading.Event(), threading.Event(), []
    keeping = reporting._Meanwhile(lambda: begun.set() or made.append(go_on.wait(10)))
    keeping.changed()
    assert begun.wait(10)
    keeping.changed()  # for those after these
    assert made == []
    go_on.set()
    keeping.close()


@pytest.mark.parametrize("name", ["run", "scenario"])
def test_page_that_cannot_be_made_is_reported_and_ends_no_run(pytester, monkeypatch, name):
    """Pages come after the verdict, and `rookery report` makes them again."""

    def broken(folder, **how):
        raise TypeError("string indices must be integers")

    monkeypatch.setattr(pages, name, broken)
    pytester.makepyfile("def test_it(rookery_results): rookery_results.note(found=1)")
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert ran.ret == 0
    ran.assert_outcomes(passed=1)
    log = (run_of(pytester) / "run.log").read_text(encoding="utf-8")
    assert f"no page of {'the run' if name == 'run' else 'it'}: TypeError: string indices" in log
    assert "exit status 0" in log
    assert json.loads((run_of(pytester) / "run.json").read_text(encoding="utf-8"))["exit_status"] == 0


def test_pages_without_what_makes_them_end_no_run(pytester, monkeypatch):
    monkeypatch.delattr("rookery.report.pages")
    monkeypatch.setitem(sys.modules, "rookery.report.pages", None)
    pytester.makepyfile("def test_it(rookery_results): rookery_results.note(found=1)")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 0
    assert "no page of the run: " in (run_of(pytester) / "run.log").read_text(encoding="utf-8")


def test_a_full_disk_ends_no_run_for_want_of_its_junit_xml(pytester, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LogXML, "pytest_sessionfinish", full)
    pytester.makepyfile("def test_it(rookery_results): rookery_results.note(found=1)")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 0


def test_what_a_scenario_and_its_clients_waited_for_is_noted_with_the_deadline(pytester, monkeypatch):
    monkeypatch.setattr(waiting, "NOTIFIED_FROM", 0)
    pytester.makepyfile(
        """
        import threading
        from rookery.waiting import wait_for

        def test_it(rookery_results):
            client = threading.Thread(target=lambda: wait_for(list, what="a row read", within=7))
            client.start()
            client.join()
            wait_for(list, what="OSDs up", within=60)
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    waits = json.loads((run_of(pytester) / "it/timings.json").read_text(encoding="utf-8"))["waits"]
    assert [(each["name"], each["within"], each["ended"]) for each in waits] == [
        ("a row read", 7, "met"),
        ("OSDs up", 60, "met"),
    ]
    assert "<h2>Waits</h2>" in (run_of(pytester) / "it/index.html").read_text(encoding="utf-8")


LOGS = """
    import logging

    log = logging.getLogger("rookery.scenarios")

    def test_it(rookery_results):
        log.debug("3 of %d claims", 5)
        log.info("%d claims Bound", 5)
        log.warning("two\\nlines")
"""


@pytest.mark.parametrize(("options", "worker"), [((), ""), (("-n", "1"), "gw0 ")], ids=["alone", "xdist"])
def test_what_a_scenario_logs_is_shown_at_once_with_its_time_of_day(pytester, options, worker):
    pytester.makepyfile(LOGS)
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    ran.assert_outcomes(passed=1)
    told = f"{ran.stdout.str()}\n{ran.stderr.str()}"
    for line in ("5 claims Bound", "two", "lines"):
        assert re.search(rf"^  \d\d:\d\d:\d\d {worker}{line}$", told, re.MULTILINE), told
    assert "3 of 5 claims" not in told
    log = (run_of(pytester) / "run.log").read_text(encoding="utf-8")
    for line in ("3 of 5 claims", "5 claims Bound", "two", "lines"):
        assert re.search(rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z {worker}{line}$", log, re.MULTILINE), log


def test_an_exception_is_logged_with_its_traceback(pytester):
    pytester.makepyfile(
        """
        import logging

        def test_it(rookery_results):
            try:
                raise KeyError("pvc")
            except KeyError:
                logging.getLogger("rookery.scenarios").exception("no claim")
        """
    )
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    for text in (ran.stdout.str(), (run_of(pytester) / "run.log").read_text(encoding="utf-8")):
        assert re.search(r"no claim\n\s*\S+ Traceback .*\n(.*\n)*\s*\S+ KeyError: 'pvc'\n", text), text


def test_nothing_is_left_on_the_logger_after_a_run(pytester, logged):
    """It is the one that this very process logs to."""
    loggers = [logging.getLogger(name) for name in ("rookery", "")]
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    pytester.makepyfile(
        """
        import logging

        def test_it(rookery_results):
            logger = logging.getLogger("rookery")
            assert (logger.level, len(logger.handlers)) == (logging.DEBUG, 2)
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers] == before


def test_beside_other_tests_alone_nobody_hears_what_is_logged(pytester):
    pytester.makepyfile(
        """
        import logging

        def test_it():
            logger = logging.getLogger("rookery")
            assert (logger.level, logger.handlers) == (logging.NOTSET, [])
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [(), ("-o", "log_format=%(message)s")], ids=["", "another format"])
def test_what_was_logged_stands_in_run_log_and_not_beneath_a_failure(pytester, options):
    pytester.makepyfile(
        """
        import logging

        def test_it(rookery_results):
            logging.getLogger("rookery.waiting").debug("OSDs up: not for %s s\\nand a %s", "10 of 300", "second line")
            logging.getLogger("rookery.scenarios").info("the nodes are off")
            logging.getLogger("theirs").warning("a line of another library")
            raise AssertionError("row lost")
        """
    )
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", *options)
    told = ran.stdout.str()
    assert "a line of another library" in told
    assert told.count("the nodes are off") == 2, "at once, and in the lines of the scenario that failed"
    assert "10 of 300 s" not in told
    assert "and a second line" not in told
    assert "not for 10 of 300 s" in (run_of(pytester) / "run.log").read_text(encoding="utf-8")
