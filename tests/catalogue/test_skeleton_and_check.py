"""A new scenario of a report, and what is seen to be missing in one before a cluster is made."""

import shutil

import pytest
from ledgers import report
from rookery import cli
from rookery.catalogue import checking, collection, ledger, skeleton
from rookery.errors import UsageError

GOOD = '''\
"""A title.

What happened.

Symptom: one.

Workaround: one.

Proof: one.
"""

import pytest
from rookery import signatures


@pytest.mark.budget(60)
@pytest.mark.bug("https://github.com/rook/rook/issues/1", symptom=signatures.POOL_NOT_FOUND)
def test_it(cluster, cluster_volumes):
    claim = cluster_volumes.apply_claim("data")
    claim.delete()  # cause
    claim.event(signatures.POOL_NOT_FOUND).wait()
'''
LEDGER = report(sabotage="the cause: red after 20 s")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bugs").mkdir()
    (tmp_path / "bugs/test_it.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / ledger.FILE).write_text(LEDGER, encoding="utf-8")
    return tmp_path


def checked(folder):
    path = folder / "bugs/test_it.py"
    return checking.missing(path, collection.collect(folder), ledger.load(folder))


def test_a_complete_scenario_lacks_nothing(folder, capsys):
    assert checked(folder) == []
    assert cli.main(["check", str(folder / "bugs/test_it.py"), f"--scenarios={folder}"]) == 0
    assert capsys.readouterr().out == "nothing is missing\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  # cause", "", "test_it: no cause is marked: end the line of the statement"),
        ('"data")\n', '"data")  # cause\n', "test_it.py:19: line 21 needs the name 'claim' without it"),
        ("@pytest.mark.budget(60)\n", "", "test_it: it lacks `budget(seconds)`"),
        ("Workaround: one.\n", "", "has no paragraph `Workaround:`"),
        ("Proof: one.", "Proof: TODO", "line 9: still to be filled in: Proof: TODO"),
        (
            '@pytest.mark.bug("https://github.com/rook/rook/issues/1", symptom=signatures.POOL_NOT_FOUND)\n',
            "",
            "no report: @pytest.mark.bug(",
        ),
        (", symptom=signatures.POOL_NOT_FOUND", "", "rook/rook#1 has no symptom, and is no guard"),
        ("issues/1", "issues/2", "rook/rook#2 is not in bugs/ledger.toml"),
        (".event(signatures.POOL_NOT_FOUND).wait()", ".bound.wait()", "and never looks for it"),
        ("    claim.delete", "    pass\n" * 23 + "    claim.delete", "26 lines, of 25 at most"),
    ],
)
def test_what_is_missing_is_reported(folder, old, new, told):
    path = folder / "bugs/test_it.py"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    assert any(told in each for each in checked(folder)), checked(folder)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("the cause: red after 20 s", "", "rook/rook#1 was not seen to turn red"),
        ('cause = "a"', 'cause = ""', "rook/rook#1 lacks in bugs/ledger.toml: cause"),
    ],
)
def test_what_the_ledger_lacks_is_reported(folder, old, new, told):
    (folder / ledger.FILE).write_text(LEDGER.replace(old, new), encoding="utf-8")
    assert any(told in each for each in checked(folder))


def test_a_fixture_that_nobody_provides_is_bad_input(folder, capsys):
    path = folder / "bugs/test_it.py"
    path.write_text(GOOD.replace("cluster_volumes)", "cluster_volume)"), encoding="utf-8")
    assert cli.main(["check", str(path), f"--scenarios={folder}"]) == 2
    assert "'cluster_volume' (is it 'cluster_volumes'?)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gone.py", "../elsewhere.py"])
def test_a_file_that_is_none_of_the_scenarios_is_bad_input(folder, tmp_path_factory, name, capsys):
    path = tmp_path_factory.mktemp("other") / "elsewhere.py" if name.startswith("..") else folder / name
    if name.startswith(".."):
        path.write_text(GOOD, encoding="utf-8")
    assert cli.main(["check", str(path), f"--scenarios={folder}"]) == 2
    assert "rookery: " in capsys.readouterr().err


def test_something_missing_is_exit_status_1(folder, capsys):
    (folder / ledger.FILE).write_text(LEDGER.replace("the cause: red after 20 s", ""), encoding="utf-8")
    assert cli.main(["check", str(folder / "bugs/test_it.py"), f"--scenarios={folder}"]) == 1
    assert "was not seen to turn red" in capsys.readouterr().out


def test_a_skeleton_is_written_and_check_reports_what_is_left(folder, capsys):
    assert cli.main(["new", "rook/rook#16428", f"--scenarios={folder}"]) == 0
    path = folder / "bugs/test_rook_16428.py"
    assert f"rookery check {path}" in capsys.readouterr().out
    assert '@pytest.mark.bug("https://github.com/rook/rook/issues/16428"' in path.read_text(encoding="utf-8")
    assert [report.short for report in ledger.load(folder)] == ["rook/rook#1", "rook/rook#16428"]
    assert cli.main(["check", str(path), f"--scenarios={folder}"]) == 1
    told = capsys.readouterr().out
    assert "still to be filled in: Steps: TODO" in told
    assert "rook/rook#16428 lacks in bugs/ledger.toml: title, product, affected" in told


def test_what_is_there_is_not_written_again(folder):
    with pytest.raises(UsageError, match="rook/rook#1 already"):
        skeleton.write("rook/rook#1", folder)
    (folder / "bugs/test_rook_2.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is there already"):
        skeleton.write("rook/rook#2", folder)
    assert (folder / "bugs/test_rook_2.py").read_text(encoding="utf-8") == "mine"
    assert (folder / ledger.FILE).read_text(encoding="utf-8") == LEDGER


def test_the_first_of_a_folder_makes_its_ledger(tmp_path):
    folder = tmp_path / "scenarios"
    with pytest.raises(UsageError, match="no such folder"):
        skeleton.write("rook/rook#1", folder)
    folder.mkdir()
    skeleton.write("rook/rook#1", folder)
    assert [report.short for report in ledger.load(folder)] == ["rook/rook#1"]
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/ceph/ceph-csi/issues/4712", "ceph_csi_4712"),
        ("https://tracker.ceph.com/issues/76354", "76354"),
        ("https://example.org/", "example_org"),
    ],
)
def test_a_file_is_called_after_its_report(url, name):
    assert skeleton.name_of(url) == name
