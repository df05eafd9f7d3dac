"""With which version a report is run."""

import pytest
from ledgers import report
from rookery import cli
from rookery.catalogue import affected, collection, ledger
from rookery.cli import reproduce
from rookery.errors import UsageError
from rookery.settings import PRODUCTS, Settings

THERE = {"rook": ["1.17.8", "1.17.10", "1.18.8", "1.20.6"], "kubernetes": ["1.29.0", "1.32.0", "nightly"], "ceph": []}
FILE = '''\
"""A title."""

import pytest

@pytest.mark.bug("https://github.com/rook/rook/issues/1")
def test_it(cluster):
    pass
'''
LEDGER = report(affected="to 1.17", fixed="1.18", status="guard", run=None, versions={"rook": "<1.18"})


def chosen(ranges, by_hand=(), **settings):
    choice = affected.choose(ranges, Settings(**settings), by_hand, THERE.__getitem__)
    return list(choice.options), "; ".join(choice.reasons)


@pytest.mark.parametrize(
    ("ranges", "settings", "options", "said"),
    [
        ({}, {}, [], ""),
        ({"rook": "<1.19.5"}, {}, [], ""),
        ({"rook": "<1.18"}, {"rook": "1.18.8"}, ["--rook=1.17.10"], "rook 1.17.10 is affected (<1.18)"),
        ({"rook": "<1.17.9"}, {}, ["--rook=1.17.8"], "rook 1.17.8 is affected (<1.17.9)"),
        ({"rook": "<1.17"}, {}, [], "no affected version (rook <1.17) can be had here, or fits the others: a guard"),
        ({"rook": ">=1.19"}, {}, [], "no affected version (rook >=1.19) can be had"),  # 1.20 takes no Ceph 18
        ({"rook": ">=1.19"}, {"ceph": "19.2.3"}, ["--rook=1.20.6"], "rook 1.20.6 is affected (>=1.19)"),
        ({"kubernetes": "<1.31"}, {}, ["--kubernetes=1.29.0"], "kubernetes 1.29.0 is affected (<1.31)"),
        ({"kubernetes": "<1.31"}, {"rook": "1.20.6"}, [], "no affected version (kubernetes <1.31) can be had"),
        (
            {"rook": "<1.18", "kubernetes": "<1.31"},
            {},
            ["--rook=1.17.10", "--kubernetes=1.29.0"],
            "rook 1.17.10 is affected (<1.18); kubernetes 1.29.0 is affected (<1.31)",
        ),
        ({"ceph": "<19"}, {"ceph": "18.2.7-20250101"}, [], ""),
    ],
)
def test_an_affected_version_that_fits_is_taken(ranges, settings, options, said):
    settings = {"ceph": "18.2.7"} | settings
    given, told = chosen(ranges, **settings)
    assert given == options
    assert told.startswith(said)
    assert bool(told) == bool(said)


def test_what_was_asked_for_stays():
    assert chosen({"rook": "<1.18"}, ["rook"]) == ([], "rook 1.18.8 is none of the affected ones (<1.18): a guard")
    assert chosen({"rook": "<1.19"}, ["rook"]) == ([], "")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios/bugs").mkdir(parents=True)
    (tmp_path / "scenarios/bugs/test_it.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "scenarios" / ledger.FILE).write_text(LEDGER, encoding="utf-8")
    monkeypatch.setattr(reproduce.available, "versions", {PRODUCTS[name]: there for name, there in THERE.items()}.get)
    monkeypatch.setattr(reproduce, "reachable_registries", lambda: False)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "registries", "ran", "said"),
    [
        ([], False, "--rook=1.17.10", "here: Rook 1.17.10, Kubernetes 1.32.0, --csi-driver auto; rook 1.17.10 is aff"),
        ([], True, "--rook=1.17.10", "rook 1.17.10 is affected (<1.18)"),
        (["--rook=1.18.8"], False, "--rook=1.18.8", "rook 1.18.8 is none of the affected ones (<1.18): a guard"),
        (["--rook=1.17.8"], False, "--rook=1.17.8", "here: Rook 1.17.8"),
    ],
)
def test_a_report_is_run_with_it(folder, monkeypatch, capsys, options, registries, ran, said):
    given = []
    monkeypatch.setattr(reproduce, "run_pytest", lambda words, pass_on: given.extend(words) or 3)
    monkeypatch.setattr(reproduce, "reachable_registries", lambda: registries)
    assert cli.main(["reproduce", "rook/rook#1", *options]) == 3
    assert [word for word in given if word.startswith("--rook")] == [ran]
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("source", ["environment", "pyproject.toml"])
def test_a_version_that_another_source_has_is_asked_for_also_where_it_is_the_default(folder, monkeypatch, source):
    if source == "environment":
        monkeypatch.setenv("ROOKERY_ROOK", Settings().rook)
    else:
        (folder / source).write_text(f'[tool.rookery]\nrook = "{Settings().rook}"\n', encoding="utf-8")
    given = []
    monkeypatch.setattr(reproduce, "run_pytest", lambda words, pass_on: given.extend(words) or 3)
    assert cli.main(["reproduce", "rook/rook#1"]) == 3
    assert not [word for word in given if word.startswith("--rook")]


def test_where_registries_are_reached_any_patch_can_be_had(folder, monkeypatch):
    assert "1.17.9" not in reproduce._there("rook")
    monkeypatch.setattr(reproduce, "reachable_registries", lambda: True)
    assert "1.17.9" in reproduce._there("rook")
    assert reproduce._there("kubernetes") == THERE["kubernetes"]


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ('"<1.18"', "versions: not a table"),
        ('{ rok = "<1.18" }', "versions: rok: known: rook, ceph, kubernetes"),
        ('{ rook = "before 1.18" }', "'before 1.18' is no range"),
        ("{ rook = 1.18 }", "1.18 is no range"),
    ],
)
def test_a_range_that_is_none_is_bad_input(folder, versions, told):
    path = folder / "scenarios" / ledger.FILE
    path.write_text(LEDGER.replace('{ rook = "<1.18" }', versions), encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        ledger.load(folder / "scenarios")


def test_it_is_listed(folder):
    (entry,) = ledger.join(ledger.load(folder / "scenarios"), collection.collect(folder / "scenarios"))
    assert entry.as_dict()["versions"] == {"rook": "<1.18"}
