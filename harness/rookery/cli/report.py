"""`rookery report`: what a run has left, as pages again, or for other programs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

from rookery.catalogue import ledger
from rookery.cli import options
from rookery.errors import UsageError
from rookery.report.failures import block
from rookery.report.stored import report_of, run_of

HTML = "html"
SUMMARY_FILE = "GITHUB_STEP_SUMMARY"
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # one of which a browser on Linux or BSD needs


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Makes index.html of the run and of each of its scenarios from what is in its folder, as the run itself does; "
        "also of a run that was killed, and with a newer harness. Then prints what failed, as the run did. Other "
        "formats change nothing in the folder. Needs neither docker nor a cluster. docs/reference/results.md says what "
        "is in a run's folder, and the fields of the JSON. Exit status: 0, whatever came of the scenarios; 2 bad input."
    )
    parser.epilog = (
        "examples: rookery report --open; rookery report 20261128T213551Z; rookery report --format github; "
        "rookery report results/latest --format junit > junit.xml"
    )
    options.add_run(parser)
    parser.add_argument("--open", action="store_true", help="open the run's page in a browser")
    parser.add_argument(
        "--format",
        choices=(HTML, *FORMATS),
        default=HTML,
        help="html: the pages (default); github: for a workflow of GitHub Actions, a summary into the file that "
        f"{SUMMARY_FILE} names, or printed, and annotations of what did not pass; junit: junit XML, printed, also of a "
        "run that was killed; json: one document, printed",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make it of that run. Raises `UsageError` if there is no such run."""
    if arguments.open and arguments.format != HTML:
        raise UsageError(f"--open: there is no page with --format {arguments.format}", hint="leave one of them away")
    folder = options.run_named(arguments, arguments.which)
    if arguments.format == HTML:
        _open(_pages(folder)) if arguments.open else _pages(folder)
    else:
        FORMATS[arguments.format](folder)
    return 0


def _pages(folder: Path) -> Path:
    from rookery.report import pages  # Jinja2 is nothing that other commands need

    run = run_of(folder)
    scenarios = sorted(path.parent for path in folder.glob("*/timings.json"))
    for scenario in scenarios:
        report = report_of(scenario)
        file = Path(str(run.get("folder", "")), str(report.get("test", "")).partition("::")[0])
        pages.scenario(scenario, causes=ledger.causes(file))
        for failure in report.get("failures", []):
            print(f"{block(scenario, when=failure['when'])}\n")
    page = pages.run(folder)
    print(f"{page}: {len(scenarios)} scenarios")
    return page


def _open(page: Path) -> None:
    """In a browser with windows: one of a terminal would take the place of what was printed."""
    has_display = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in DISPLAYS)
    if not has_display or not webbrowser.open(page.as_uri()):
        print(f"no browser can be opened here: the page is {page}", file=sys.stderr)


def _github(folder: Path) -> None:
    from rookery.report import document, job_summary

    found = document.of(folder)
    _summary(found)
    for annotation in job_summary.commands(found):
        _print(annotation)


def _summary(found: dict[str, object]) -> None:
    """Append it to the step's file, within what GitHub takes of that; print it where there is none."""
    from rookery.report import job_summary

    name = os.environ.get(SUMMARY_FILE)
    if not name:
        _print(job_summary.summary(found))
        return
    file = Path(name)
    try:
        before = file.stat().st_size if file.exists() else 0
        text = job_summary.summary(found, job_summary.LIMIT - before)
        with file.open("a", encoding="utf-8", errors="replace") as summary:
            summary.write(text)
        if not text:
            print(f"{file}: no room is left in it, of the 1 MiB that GitHub takes", file=sys.stderr)
    except OSError as error:
        raise UsageError(
            f"{file}: {error.strerror}", hint=f"{SUMMARY_FILE} is set by GitHub Actions; without it, it is printed"
        ) from error


def _junit(folder: Path) -> None:
    from rookery.report import suite

    _print(suite.of(folder))


def _json(folder: Path) -> None:
    from rookery.report import document

    print(json.dumps(document.of(folder), indent=1))


def _print(text: str) -> None:
    """What is no text, as half a surrogate is none, is replaced."""
    print(text.encode("utf-8", "replace").decode())


FORMATS: dict[str, Callable[[Path], None]] = {"github": _github, "junit": _junit, "json": _json}
