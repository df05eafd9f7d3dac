"""matrix.toml: its combinations, what they need, and what is refused."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from rookery import cli
from rookery.cli import matrix as command
from rookery.errors import UsageError
from rookery.images import recipes
from rookery.matrix import cells
from rookery.settings import Settings
from rookery.workloads.registry import kinds

OWN = Path(__file__).parents[2] / cells.FILE


@pytest.fixture
def matrix(tmp_path):
    def write(text: str) -> cells.Matrix:
        path = tmp_path / "matrix.toml"
        path.write_text(text, encoding="utf-8")
        return cells.load(path)

    return write


@pytest.fixture
def machine(monkeypatch):
    has = dict.fromkeys(cells.NEEDS, False)
    monkeypatch.setattr(command, "machine_has", lambda: has)
    return has


def test_a_cell_is_pytests_options(matrix):
    (cell,) = matrix('[[cell]]\nname = "a"\nwhy = "b"\ntier = "slow"\nsettings = { rook = "1.17.8" }').cells
    assert cell.options == ["--rook=1.17.8", "--slow"]
    assert cells.lacking(cell, {}) == []


def test_axes_are_every_combination_but_the_excluded(matrix):
    found = matrix(
        '[[axes]]\nwhy = "b"\nsettings = { rook = ["1.17.8", "1.18.8"], kubernetes = ["1.32.0", "1.33.0"] }\n'
        'exclude = [{ rook = "1.17.8", kubernetes = "1.33.0" }]'
    )
    assert [cell.name for cell in found.cells] == [
        "rook1.17.8-kubernetes1.32.0",
        "rook1.18.8-kubernetes1.32.0",
        "rook1.18.8-kubernetes1.33.0",
    ]


def test_of_axes_what_cannot_be_is_left_out_with_the_reason(matrix):
    found = matrix('[[axes]]\nwhy = "b"\nsettings = { rook = ["1.17.8", "1.18.8"], kubernetes = ["1.34.0"] }')
    assert [cell.name for cell in found.cells] == ["rook1.18.8-kubernetes1.34.0"]
    ((name, reason),) = found.impossible
    assert name == "rook1.17.8-kubernetes1.34.0"
    assert "takes 1.28 to 1.33" in reason
    with pytest.raises(UsageError, match=r"takes 1\.28 to 1\.33"):
        found.named([name])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no cells"),
        ("x = 1", "no such table: x"),
        ("cell = 1", "no list of tables"),
        ("[[cell", "cannot be read"),
        ('[[cell]]\nname = "a"', "does not say why"),
        ('[[cell]]\nname = "a/b"\nwhy = "b"', "no name of a cell"),
        ('[[cell]]\nname = "a"\nwhy = "b"\ntier = "all"', "no such tier"),
        ('[[cell]]\nname = "a"\nwhy = "b"\nneeds = ["luck"]', "nobody has luck"),
        ('[[cell]]\nname = "a"\nwhy = "b"\nsettings = { rok = "1" }', "no setting of a cell: rok"),
        ('[[cell]]\nname = "a"\nwhy = "b"\nsettings = { shard = "1/2" }', "no setting of a cell: shard"),
        ('[[cell]]\nname = "a"\nwhy = "b"\nsettings = { kubernetes = "1.40.0" }', "cannot be"),
        ('[[cell]]\nname = "a"\nwhy = "b"\n[[cell]]\nname = "a"\nwhy = "b"', "two cells are called a"),
        ('[[cell]]\nname = "a"\nwhy = "b"\ndrawn = "yes"', "neither true nor false"),
        ('[[cell]]\nname = "a"\nwhy = "b"\ndrawn = true\nneeds = ["rbd"]', "is drawn, and needs rbd"),
        (
            '[[cell]]\nname = "a"\nwhy = "b"\ndrawn = true\n'
            'expected = [{ scenario = "c", link = "l", until = 2027-01-31 }]',
            "is drawn, and expects c to fail",
        ),
        (
            '[[cell]]\nname = "a"\nwhy = "b"\ndrawn = true\nsettings = { kind_config = "my dir/x.yaml" }',
            "is drawn, and has a space in",
        ),
        ('[[axes]]\nwhy = "b"\nsettings = { rook = "1.18.8" }', "no list of values"),
        ('[[cell]]\nname = "a"\nwhy = "b"\nexpected = [{ scenario = "c" }]', "lacks 'link'"),
    ],
)
def test_what_is_no_matrix_is_refused_with_a_hint(matrix, text, told):
    with pytest.raises(UsageError, match=told) as caught:
        matrix(text)
    assert caught.value.hint


def test_a_matrix_that_is_not_there_is_reported_once(tmp_path):
    with pytest.raises(UsageError) as caught:
        cells.load(tmp_path / "none.toml")
    assert caught.value.message == f"{tmp_path / 'none.toml'} cannot be read: No such file or directory"


def test_the_projects_own_lists_what_it_needs():
    found = cells.load(OWN)
    assert found.impossible == ()
    alone = [cell for cell in found.cells if not cell.needs]
    assert {"default", "rook-1.17", "kubernetes-1.33", "kubernetes-1.34", "cassandra-4.1"} <= {
        cell.name for cell in alone
    }


def test_the_cells_that_are_drawn_have_two_minors_of_rook_and_each_its_turn(capsys):
    drawn = [cell for cell in cells.load(OWN).cells if cell.drawn]
    assert len({Settings(**cell.settings).rook.rpartition(".")[0] for cell in drawn}) >= 2
    printed = []
    for turn in range(7, 7 + len(drawn)):
        assert cli.main(["matrix", "draw", str(turn), "--matrix", str(OWN)]) == 0
        printed.append(capsys.readouterr().out.split())
    assert sorted(printed) == sorted([cell.name, *cell.versions] for cell in drawn)
    assert cli.main(["matrix", "draw", "0", "--json", "--matrix", str(OWN)]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "default", "options": ""}
    assert all(option.startswith("--") and "--all" not in option for _, *options in printed for option in options)


def test_a_cell_that_does_not_fit_what_the_environment_asks_for_leaves_its_turn_to_the_next(capsys, monkeypatch):
    found = cells.load(OWN)
    turn = next(turn for turn in range(2) if found.draw(turn).name == "rook-1.17")
    monkeypatch.setenv("ROOKERY_KUBERNETES", "1.34.0")  # 1.33 is the newest that Rook 1.17 is made for
    assert cli.main(["matrix", "draw", str(turn), "--matrix", str(OWN)]) == 0
    assert capsys.readouterr().out.strip() == "default"
    monkeypatch.setenv("ROOKERY_KUBERNETES", "1.20.0")
    assert cli.main(["matrix", "draw", str(turn), "--matrix", str(OWN)]) == 2
    assert "no cell that is drawn can be run here: rook-1.17: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, ""),
        ({"ROOKERY_ROOK": ""}, ""),
        ({"ROOKERY_ROOK": "1.17.8"}, ""),
        ({"ROOKERY_ROOK": "1.18.8"}, "--rook 1.17.8 is not what ROOKERY_ROOK=1.18.8 asks for"),
        ({"ROOKERY_ROOK_MANIFESTS": "of-1.18"}, "--rook-manifests are of one version of Rook"),
    ],
)
def test_a_cell_of_one_rook_does_not_fit_a_run_that_asks_for_another(tmp_path, environment, reason):
    assert cells.why_not_beside({"rook": "1.17.8"}, environment, tmp_path / "none.toml") == reason


def test_what_pyproject_asks_for_is_asked_of_a_cell_that_is_drawn(tmp_path):
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[tool.rookery]\nkubernetes = "1.34.0"\n', encoding="utf-8")
    assert "does not fit Rook 1.17.8" in cells.why_not_beside({"rook": "1.17.8"}, {}, pyproject)
    assert cells.why_not_beside({}, {}, pyproject) == ""


def test_a_turn_of_no_cell_and_one_that_is_no_number_are_refused(capsys, tmp_path):
    path = tmp_path / "matrix.toml"
    path.write_text('[[cell]]\nname = "a"\nwhy = "b"', encoding="utf-8")
    assert cli.main(["matrix", "draw", "1", "--matrix", str(path)]) == 2
    assert "no cell is drawn by turns" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["matrix", "draw", "-1", "--matrix", str(OWN)])


def test_what_a_cell_needs_no_registry_for_has_recipes():
    for cell in [cell for cell in cells.load(OWN).cells if not cell.needs]:
        asked = Settings(**cell.settings)
        images = [f"docker.io/rook/ceph:v{asked.rook}", f"kindest/node:v{asked.kubernetes}"]
        images += [f"{kind.image}:{asked.workloads[name]}" for name, kind in kinds().items()]
        images += [f"quay.io/ceph/ceph:v{asked.ceph}"] if asked.ceph else []
        assert [image for image in images if not recipes.find(image)] == [], cell.name


def test_the_list_reports_what_cannot_run_here(machine, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert cli.main(["matrix", "--matrix", str(OWN)]) == 0
    told = capsys.readouterr().out
    (line,) = [line for line in told.splitlines() if "--csi-driver=ceph-csi" in line]
    assert "no: it needs container registries" in line
    assert cli.main(["matrix", "--matrix", str(OWN), "--json", "--here"]) == 0
    here = json.loads(capsys.readouterr().out)["include"]
    assert {cell["name"] for cell in here} == {cell.name for cell in cells.load(OWN).cells if not cell.needs}
    machine |= dict.fromkeys(machine, True)
    assert cli.main(["matrix", "--matrix", str(OWN), "--json"]) == 0
    assert all(cell["here"] for cell in json.loads(capsys.readouterr().out)["include"])


def test_a_cell_that_cannot_run_here_is_refused_by_name(machine, capsys, tmp_path):
    argv = ["matrix", "run", "ceph-csi", "--matrix", str(OWN), "--results-dir", str(tmp_path)]
    assert cli.main(argv) == 2
    assert "ceph-csi cannot run here" in capsys.readouterr().err
    assert not (tmp_path / "nightly").exists()


def test_a_cell_that_the_environment_contradicts_cannot_run_here(machine, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ROOKERY_ROOK", "1.18.8")
    monkeypatch.setenv("COLUMNS", "400")
    reason = "--rook 1.17.8 is not what ROOKERY_ROOK=1.18.8 asks for"
    where = ["--matrix", str(OWN), "--results-dir", str(tmp_path)]
    assert cli.main(["matrix", "run", "rook-1.17", *where]) == 2
    assert f"rook-1.17 cannot run here: {reason}" in capsys.readouterr().err
    assert cli.main(["matrix", *where]) == 0
    assert f"no: {reason}" in capsys.readouterr().out


def test_a_night_leaves_out_what_cannot_run_here_and_is_refused_if_that_is_all(machine, capsys, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(command, "run_pytest", lambda options, pass_on: begun.append(options) or 0)
    path = tmp_path / "matrix.toml"
    path.write_text(
        '[[cell]]\nname = "a"\nwhy = "b"\nsettings = { rook = "1.17.8" }\n'
        '[[cell]]\nname = "c"\nwhy = "b"\nsettings = { rook = "1.18.8" }\n',
        encoding="utf-8",
    )
    argv = ["matrix", "run", "--matrix", str(path), "--results-dir", str(tmp_path)]
    monkeypatch.setenv("ROOKERY_ROOK", "1.18.8")
    assert cli.main(argv) == 0
    assert ["--rook=1.18.8" in options for options in begun] == [True]
    monkeypatch.setenv("ROOKERY_ROOK", "1.18.7")
    assert cli.main(argv) == 2
    assert "a cannot run here: " in capsys.readouterr().err
    assert len(begun) == 1


def test_what_is_expected_holds_until_its_day():
    expected = cells.Expected("claim", "https://example.org/1", date(2027, 1, 31))
    assert expected.holds(date(2027, 1, 31))
    assert not expected.holds(date(2027, 2, 1))


def test_ranges_of_rook_are_of_no_concern_where_another_storage_system_serves():
    assert cells.why_not({"kubernetes": "1.40.0"})
    assert cells.why_not({"kubernetes": "1.40.0", "storage": "local"}) == ""


def test_a_cell_is_looked_at_as_its_run_would_be():
    assert cells.why_not({"kubernetes": "1.40.0", "kind_image": "mine/node:v1.40.0"}) == ""
