"""The workflows of .github, and the examples for other engines: what they name is there, and steps do what they say.

Nothing here asks GitHub; `tox -e workflows` has actionlint look at the same files.
"""

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rookery import cli
from rookery.cli import matrix as command
from rookery.images.catalogue import CHROMIUM
from rookery.matrix import cells, nights
from rookery.matrix.cells import Cell

PROJECT = Path(__file__).parents[1]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
NIGHTLY = PROJECT / ".github" / "workflows" / "nightly.yml"
ACTIONS = sorted((PROJECT / ".github" / "actions").glob("*/action.yml"))
GITLAB, JENKINS = PROJECT / "docs" / "ci" / "gitlab-ci.yml", PROJECT / "docs" / "ci" / "Jenkinsfile"
NIGHT = "20261130T010000Z"
VARIABLES = {"CELL": "default", "NIGHT": NIGHT}  # of steps, with values that the command takes
OPERATOR = re.compile(r"[();<>|&{}]+")


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path):
    return load(path)["jobs"]


def steps():
    """Every step of every workflow and action, with the file it is in."""
    for path in WORKFLOWS:
        for job in jobs(path).values():
            yield from ((path, step) for step in job["steps"])
    for path in ACTIONS:
        yield from ((path, step) for step in load(path)["runs"]["steps"])


def scripts():
    """Every script there is: of steps, of GitLab's jobs, and of Jenkins' `sh`."""
    yield from ((path, step["run"]) for path, step in steps() if "run" in step)
    for job in load(GITLAB).values():
        for part in ("before_script", "script", "after_script"):
            yield from ((GITLAB, line) for line in (job.get(part, ()) if isinstance(job, dict) else ()))
    yield from ((JENKINS, line) for line in re.findall(r"\bsh '(.*)'$", JENKINS.read_text("utf-8"), re.MULTILINE))


def words(script):
    """Each command of a script as its words, with variables of steps filled in."""
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        lexer = shlex.shlex(re.sub(r"(^|\s)#\s.*", "", line), posix=True, punctuation_chars="();<>|&{}")
        lexer.whitespace_split, lexer.commenters = True, ""
        found = []
        for word in [*lexer, ";"]:
            if not OPERATOR.fullmatch(word):
                found.append(re.sub(r"\$(\w+)", lambda match: VARIABLES.get(match[1], match[0]), word))
            elif found:
                yield found
                found = []


def arguments_of(program, found):
    """What a command gives to that program, or None where it runs another one."""
    for index, word in enumerate(found):
        if word == program or word.endswith(f"/{program}"):
            return found[index + 1 :] if index == 0 or found[index - 1] != "install" else None
    return None


def calls(program):
    """What all scripts give to that program, each once for a file."""
    found = [(path, arguments_of(program, each)) for path, script in scripts() for each in words(script)]
    named = {f"{path.name}: {shlex.join(given)}": given for path, given in found if given is not None}
    return [pytest.param(given, id=name) for name, given in named.items()]


@pytest.fixture
def environments():
    """tox.ini's environments, by name."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(PROJECT / "tox.ini")
    return {name.removeprefix("testenv:"): tox[name] for name in tox.sections() if name.startswith("testenv:")}


@pytest.fixture(scope="module")
def told():
    """What docs/, README and CONTRIBUTING say."""
    return "\n".join(page.read_text("utf-8") for page in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])


@pytest.mark.parametrize("given", calls("tox"))
def test_each_environment_of_tox_is_there_and_is_in_docs(environments, told, given):
    named = given[given.index("-e") + 1].split(",") if "-e" in given else []
    assert set(named) <= set(environments)
    assert [name for name in named if f"tox -e {name}" not in told and name not in ("lint", "unit")] == []
    if "--" in given:
        (name,) = named
        (line,) = [line for line in environments[name]["commands"].splitlines() if "{posargs" in line]
        program, *before = line.replace("{posargs}", "").split()
        assert program == "rookery"
        assert cli.parser().parse_args([*before, *given[given.index("--") + 1 :]])


@pytest.mark.parametrize("given", calls("rookery"))
def test_each_command_is_one_and_is_in_docs(told, given):
    assert cli.parser().parse_args(given)
    named = [word for word in given[:2] if re.fullmatch("[a-z-]+", word) and not word.startswith("-")]
    assert f"rookery {' '.join(named)}" in told


def test_there_are_commands_to_look_at():
    assert {"matrix", "report", "sweep"} <= {call.values[0][0] for call in calls("rookery")}
    assert ["-e", "nightly", "--", "default", "--night", NIGHT] in [call.values[0] for call in calls("tox")]


def test_a_command_is_found_wherever_it_stands():
    script = (
        'x=$(rookery a --b) # not rookery c\nsudo -E env "PATH=$PATH" .tox/e/bin/rookery d \\\n  e || pip install f'
    )
    found = [given for each in words(script) if (given := arguments_of("rookery", each)) is not None]
    assert found == [["a", "--b"], ["d", "e"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_workflow_is_bounded(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}, "a job that needs more says so itself"
    assert "group" in workflow["concurrency"]
    assert [name for name, job in workflow["jobs"].items() if "timeout-minutes" not in job] == []


def test_every_action_is_of_a_major_version_or_ours():
    used = {step["uses"] for _, step in steps() if "uses" in step}
    ours = {f"./{path.parent.relative_to(PROJECT)}" for path in ACTIONS}
    assert ours <= used
    assert [name for name in used - ours if not re.fullmatch(r"actions/[a-z-]+@v\d+", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_uses_what_its_matrix_has(path, monkeypatch, capsys):
    monkeypatch.setattr(command, "machine_has", lambda: dict.fromkeys(cells.NEEDS, True))
    assert cli.main(["matrix", "--matrix", str(PROJECT / cells.FILE), "--json"]) == 0
    included = json.loads(capsys.readouterr().out)["include"]
    for name, job in jobs(path).items():
        asked = {
            key
            for text in re.findall(r"\$\{\{(.*?)\}\}", str(job))
            for key in re.findall(r"(?<![\w.])matrix\.(\w+)", text)
        }
        matrix = job.get("strategy", {}).get("matrix", {})
        there = set.intersection(*map(set, included)) if isinstance(matrix, str) else matrix.keys()
        assert asked <= there, name


def test_pages_are_opened_in_a_browser_before_which_its_image_is_made():
    """A test that needs the image is skipped without it, and nobody would see that."""
    scripts = [step.get("run", "") for step in jobs(PROJECT / ".github" / "workflows" / "unit.yml")["unit"]["steps"]]
    (made,) = [place for place, script in enumerate(scripts) if "rookery bench page" in script]
    (tested,) = [place for place, script in enumerate(scripts) if script.endswith("tox -e unit")]
    assert made < tested
    assert CHROMIUM in scripts[made], "whether it is there is looked at"
    ran = (PROJECT / ".ci" / "run").read_text("utf-8")
    last = ran.index("tox -e unit --")
    assert ran.index("bench page") < last
    using = [
        path
        for path in PROJECT.glob("tests/**/test_*.py")
        if re.search(r"def \w+\(chromium\b", path.read_text(encoding="utf-8"))
    ]
    assert using
    assert [path.name for path in using if str(path.relative_to(PROJECT)) not in ran[last:]] == []


def test_history_is_complete_where_turns_go_by_the_number_of_commits():
    for path in WORKFLOWS:
        for job in jobs(path).values():
            if any(".ci/run" in step.get("run", "") for step in job["steps"]):
                (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
                assert checkout["with"]["fetch-depth"] == 0


def test_the_example_for_gitlab_names_the_cells_that_run_anywhere():
    (axes,) = load(GITLAB)["cell"]["parallel"]["matrix"]
    assert axes["CELL"] == [cell.name for cell in cells.load(PROJECT / cells.FILE).cells if not cell.needs]


FAKE_GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$1 $2" in
  "run list") printf '3\\n2\\n1\\n';;
  "run download") [ "$3" = 2 ] && cp -r "$EARLIER"/. results/nightly/;;
  "issue list") printf '7 Nightly: claim fails sometimes\\n8 Nightly: claim fails\\n';;
  "issue comment" | "issue create") cat body.md >> "$CALLS";;
esac
"""


@pytest.fixture
def github(tmp_path):
    """Runs a step of nightly.yml, found by its id, as a runner would, with a `gh` that only notes what it is asked."""
    work, bin_ = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    bin_.mkdir()
    (work / cells.FILE).symlink_to(PROJECT / cells.FILE)
    for name, text in (("gh", FAKE_GH), ("rookery", f'#!/bin/sh\nexec {sys.executable} -m rookery "$@"\n')):
        (bin_ / name).write_text(text, encoding="utf-8")
        (bin_ / name).chmod(0o755)
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "CALLS")}
    for path in files.values():
        path.touch()

    class Runner:
        folder = work
        earlier = tmp_path / "earlier"

        @staticmethod
        def read(name):
            return files[name].read_text("utf-8")

        def run(self, job, identity):
            (step,) = [each for each in jobs(NIGHTLY)[job]["steps"] if each.get("id") == identity]
            environment = {
                **os.environ,
                **{name: str(path) for name, path in files.items()},
                **{name: str(value) for name, value in step.get("env", {}).items()},
                "PATH": f"{bin_}:{os.environ['PATH']}",
                "PYTHONPATH": str(PROJECT / "harness"),
                "EARLIER": str(self.earlier),
                "GITHUB_REF_NAME": "main",
                "NIGHT": NIGHT,
                "RUN": "https://example.org/runs/4",
                **dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9"),  # no registry is reached
            }
            argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(
                argv, cwd=work, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
            )
            return done.returncode, done.stdout + done.stderr

    return Runner()


def ran(results, night, outcome):
    """A night in which the cell `default` ended, with the scenario `claim` in it."""
    folder = nights.folder_of(results) / night / "default"
    scenario = folder / "run" / "claim"
    scenario.mkdir(parents=True)
    told = {"scenario": "claim", "outcome": outcome, "total_s": 12.0}
    (scenario / "timings.json").write_text(json.dumps(told), encoding="utf-8")
    status = 0 if outcome == "passed" else 1
    nights.write(folder, Cell("default", "", {}), started=night, seconds=1.0, status=status, command=[])


def test_the_step_that_makes_the_matrix(github):
    status, said = github.run("matrix", "matrix")
    assert status == 0, said
    output = dict(line.split("=", 1) for line in github.read("GITHUB_OUTPUT").splitlines())
    assert nights.night_named(github.folder / "results", output["night"]).is_dir()
    include = json.loads(output["cells"])["include"]
    alone = [cell.name for cell in cells.load(PROJECT / cells.FILE).cells if not cell.needs]
    assert [cell["name"] for cell in include] == alone
    assert all(cell["here"] for cell in include)
    assert "no: it needs container registries" in github.read("GITHUB_STEP_SUMMARY"), "what cannot run is told"


def test_a_matrix_that_cannot_be_read_ends_the_step(github):
    (github.folder / cells.FILE).unlink()
    status, said = github.run("matrix", "matrix")
    assert (status, "matrix.toml cannot be read" in said) == (2, True)


def test_the_step_that_gets_the_nights_before(github):
    for day in range(1, 32):
        ran(github.earlier, f"202610{day:02}T010000Z", "passed")
    github.earlier = nights.folder_of(github.earlier)
    status, said = github.run("night", "before")
    assert status == 0, said
    kept = [night.name for night in nights.nights(github.folder / "results")]
    assert (len(kept), kept[-1]) == (29, "20261031T010000Z")
    asked = [line.split()[2] for line in github.read("CALLS").splitlines() if line.startswith("run download")]
    assert asked == ["3", "2"], "the newest that has them"


def test_the_first_night_has_none_before(github):
    github.earlier.mkdir()
    assert github.run("night", "before")[0] == 0
    assert nights.nights(github.folder / "results") == []


@pytest.mark.parametrize(("outcome", "texts", "says"), [("failed", 1, "new failure"), ("passed", 0, "as it was")])
def test_the_step_that_makes_the_page(github, outcome, texts, says):
    results = github.folder / "results"
    ran(results, "20261129T010000Z", "passed")
    ran(results, NIGHT, outcome)
    status, said = github.run("night", "page")
    assert status == 0, said
    assert NIGHT in (results / "nightly" / "index.html").read_text("utf-8")
    assert len(list((github.folder / "issues").iterdir())) == texts
    heading, _, *table = github.read("GITHUB_STEP_SUMMARY").splitlines()
    assert heading == f"## Night of {NIGHT}"
    assert any(says in line for line in table)
    assert all(line.startswith("    ") for line in table), "a block of code"


@pytest.mark.parametrize(
    ("scenario", "asked"),
    [
        ("claim", "issue comment 8 --body-file body.md"),
        ("pool[a b]", "issue create --title Nightly: pool[a b] fails --label nightly --body-file body.md"),
    ],
)
def test_the_step_that_opens_or_updates_an_issue(github, scenario, asked):
    (github.folder / "issues").mkdir()
    (github.folder / "issues" / "001.md").write_text(f"# Nightly: {scenario} fails\n\nNew.\n", encoding="utf-8")
    status, said = github.run("night", "issues")
    assert status == 0, said
    made, listed, *rest = github.read("CALLS").splitlines()
    assert made.startswith("label create nightly")
    assert listed.startswith("issue list --state open --label nightly")
    assert rest == [asked, "", "New.", "", "https://example.org/runs/4"]


def test_without_a_new_failure_no_issue_is_asked_for(github):
    (github.folder / "issues").mkdir()
    assert github.run("night", "issues") == (0, "")
    assert github.read("CALLS") == ""
