"""Whatever stands in whichever place of a run's files, nothing that reads results ends by it."""

import json
import tempfile
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
import stored_runs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rookery import cli
from rookery.catalogue import reproducing
from rookery.catalogue.collection import Prose, Scenario
from rookery.catalogue.markers import Bug
from rookery.matrix import grid, nights
from rookery.matrix.cells import Matrix
from rookery.report import failures, happened, pages, recorded, results
from rookery.report.comparison import Comparison

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, 2**63, -1])
JUNK = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)
CELL = {"cell": {"name": "a"}, "started": stored_runs.STARTED, "seconds": 9.0, "status": 1}
ODD_LINES = [[], None, 3, "x", {}, {"at": "x"}, {"process": [], "type": [], "f": {}, "time_ns": None}]


def places(found, before=()):
    """Where anything stands: the whole of it, and each item of each list and object."""
    yield before
    items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for name, inner in items:
        yield from places(inner, (*before, name))


def changed(found, place, junk):
    if not place:
        return junk
    copied = dict(found) if isinstance(found, dict) else list(found)
    copied[place[0]] = changed(found[place[0]], place[1:], junk)
    return copied


SCENARIO = Scenario(
    *("test_it.py", "test_it", "", "it", Prose.of("It works."), Prose.of("Symptom: it is late."), "rest", 60.0, ()),
    (Bug("https://example.org/1", symptom="another text"),),
    (),
    (),
)


def read_all(scenario):
    """Have everything read the scenario's folder that reads results."""
    root, run = scenario.parents[1], scenario.parent
    pages.scenario(scenario)
    pages.run(run)
    failures.block(scenario)
    json.dumps(Comparison.of([run, run]).as_dict())
    results.last_results(root)
    last = reproducing.results_since(datetime.fromtimestamp(0, timezone.utc), root)
    ended = reproducing.outcome([SCENARIO], last, 1)
    "".join(reproducing.after("it", [SCENARIO], None, last, ended))
    formats = (["report", f"--format={name}"] for name in ("html", "github", "junit", "json"))
    other = stored_runs.write(root, FILES, run="other").parent
    for command in (*formats, ["recheck"], ["compare", str(other)]):
        assert cli.main([*command, str(run), "--results-dir", str(root)]) in (0, 1, 2)


FILES = stored_runs.files()


# Those that ended one once, and what a run draws.
@settings(max_examples=60)
@example(("run.json", "machine", "host"), True)
@example(("history.jsonl", 5, "at"), [])
@example(("history.jsonl", 6, "fault"), 1)
@example(("history.jsonl", 0, "time_ns"), 1)
@example(("report.json", "symptoms"), ["a text"])
@given(st.sampled_from(list(places(FILES))[1:]), JUNK)
def test_no_value_in_any_place_ends_a_reader(place, junk):
    with tempfile.TemporaryDirectory() as folder:
        read_all(stored_runs.write(Path(folder), changed(FILES, place, junk)))


@settings(max_examples=60)
@given(st.sampled_from(list(places(CELL))), JUNK)
def test_no_value_in_any_place_ends_the_matrix(place, junk):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cell = nights.folder_of(root) / "20261128T000000Z" / "a"
        stored_runs.write(
            cell, {**FILES, "timings.json": changed(FILES["timings.json"], place[:1] and ("outcome",), junk)}
        )
        (cell / nights.CELL_FILE).write_text(json.dumps(changed(CELL, place, junk)), encoding="utf-8")
        grid.write(root, Matrix(()), date(2026, 11, 29))
        nights.in_order([], root)


@pytest.fixture
def results_folder(tmp_path):
    return tmp_path / "results"


NO_JSON = [b"", b"{", b"\xff\x00", b"[" * 200_000, b"7", b"[]", b"null", b'"x"', b'{"a": ' + b"9" * 5000 + b"}"]


@pytest.mark.parametrize("torn", NO_JSON, ids=lambda torn: repr(torn[:8]))
@pytest.mark.parametrize("file", sorted(FILES))
def test_file_that_is_nothing_ends_no_reader_and_is_named(results_folder, file, torn):
    scenario = stored_runs.write(results_folder, FILES)
    ((scenario.parent if file == "run.json" else scenario) / file).write_bytes(torn)
    read_all(scenario)
    if torn:
        assert file in pages.scenario(scenario).read_text(encoding="utf-8").partition("<h2>Files")[0]


def test_a_cell_that_cannot_be_read_is_named_on_the_page_of_the_night(tmp_path):
    night = nights.folder_of(tmp_path) / "20261128T000000Z"
    for name in ("a", "b"):
        stored_runs.write(night / name, FILES)
        (night / name / nights.CELL_FILE).write_text(
            json.dumps(CELL if name == "a" else {**CELL, "seconds": "9"}), encoding="utf-8"
        )
    (night / "a/20261128T214243Z/it-2").mkdir()
    (night / "a/20261128T214243Z/it-2/timings.json").write_text("[]", encoding="utf-8")
    page = grid.write(tmp_path, Matrix(()), date(2026, 11, 29))
    assert "Not readable, and left out: b/cell.json, a/20261128T214243Z/it-2/timings.json." in page.read_text(
        encoding="utf-8"
    )


def test_comparison_and_reproduction_name_what_they_left_out(results_folder):
    report = {**FILES["report.json"], "symptoms": ["a text"]}
    scenario = stored_runs.write(results_folder, {**FILES, "report.json": report})
    (told,) = Comparison.of([scenario.parent]).unreadable
    assert told == f"symptoms of {scenario}/report.json"
    last = results.last_results(results_folder)
    shown = list(reproducing.after("it", [SCENARIO], None, last, reproducing.outcome([SCENARIO], last, 1)))
    assert "  not readable: symptoms of report.json" in shown


@pytest.mark.parametrize("line", ODD_LINES, ids=repr)
def test_line_that_is_nothing_is_counted_and_the_rest_is_drawn(results_folder, line):
    scenario = stored_runs.write(
        results_folder,
        {**FILES, "history.jsonl": [line, *stored_runs.history()], "events.jsonl": [line, *stored_runs.EVENTS]},
    )
    whole = recorded.read(stored_runs.write(results_folder, FILES, scenario="whole") / "history.jsonl")
    found = recorded.read(scenario / "history.jsonl")
    assert (len(found), found.skipped) == (len(whole), 1)
    became = happened.read(scenario / "events.jsonl")
    assert (len(became.changes), became.skipped) == (2, 1)


def test_two_halves_of_a_line_are_two_lines_that_are_none(tmp_path):
    begin, end = (json.dumps(each) for each in stored_runs.history()[:2])
    (tmp_path / "history.jsonl").write_text(f'{begin}\n{{"process": [1\n2]}}\n{end}\n', encoding="utf-8")
    assert recorded.read(tmp_path / "history.jsonl").skipped == 2
