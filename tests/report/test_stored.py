"""Files of a run that have something else in a place than Rookery writes there: pages are made of the rest."""

import json

import pytest
import stored_runs
from rookery.report import failures, pages, stored
from stored_runs import FILES

WRONG = (None, "text", 7, True, [], {}, ["text"], [7], [None], {"text": "text"}, [{}], [{"symptom": None}])


@pytest.fixture
def scenario(tmp_path):
    """The folder of a scenario, with every file of it and of its run as Rookery writes them."""
    return stored_runs.write(tmp_path / "results", stored_runs.files())


def all_of(scenario):
    """All that is made of the files: two pages, the block in the terminal, and its short form."""
    made = [
        pages.scenario(scenario).read_text(encoding="utf-8"),
        pages.run(scenario.parent).read_text(encoding="utf-8"),
    ]
    return [*made, failures.block(scenario), failures.reason(scenario, "call")]


def test_what_rookery_writes_is_readable(scenario):
    assert not any("Not readable" in text or "not readable" in text for text in all_of(scenario))
    assert "late" in failures.block(scenario)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (file, name)
        for file, forms in (
            ("report.json", stored.REPORT),
            ("timings.json", stored.TIMINGS),
            ("run.json", stored.RUN),
        )
        for name in (marked.removesuffix("?") for marked in forms)
    ],
)
def test_value_of_another_form_costs_no_page(scenario, file, name):
    path = (scenario.parent if file == "run.json" else scenario) / file
    for wrong in WRONG:
        path.write_text(json.dumps({**FILES[file], name: wrong}), encoding="utf-8")
        all_of(scenario)
    path.write_text(json.dumps({key: value for key, value in FILES[file].items() if key != name}), encoding="utf-8")
    all_of(scenario)


def test_what_was_left_out_is_named(scenario):
    (scenario / "report.json").write_text(
        json.dumps({**FILES["report.json"], "symptoms": ["a line"]}), encoding="utf-8"
    )
    of_it, of_run, *_ = all_of(scenario)
    assert "symptoms of report.json" in of_it
    assert "symptoms of report.json" in of_run
