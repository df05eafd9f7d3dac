"""Hooks by which a run writes its folder: run.json, run.log, junit.xml, tracebacks and pages; and what red looks like.

Nothing is made before the first scenario asks for its results, so that other tests' runs leave no folder.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr

from rookery.catalogue import ledger
from rookery.errors import InfrastructureError
from rookery.log_lines import LOGGER, TimeOfDay
from rookery.plugin.junit import OUTCOME, UNCOUNTED, RunXml
from rookery.plugin.outcomes import blamed, outcome_of
from rookery.plugin.workers import FOLDER
from rookery.report import failures
from rookery.report.machine import about_machine
from rookery.report.results import Results
from rookery.report.run_folder import RunFolder
from rookery.report.stored import used_in
from rookery.settings import Settings

PAGES_EVERY = 5.0  # seconds, while a scenario runs
PAUSE = 20  # so many times as long as pages took of a processor, none are made
WAITING = ("rookery/waiting.py", "tenacity/")  # files whose frames say nothing of what was waited for
EXPLAINED = {
    0: "every scenario passed or was skipped",
    1: "a finding about the storage: a scenario failed, or its check came to no verdict",
    2: "a mistake in a scenario, an option or the harness; or the run was interrupted",
    3: "the infrastructure failed: it says nothing about the storage",
    4: "pytest was used wrongly",
    5: "nothing was selected",
    130: "interrupted",
}


class _Block(TerminalRepr):
    """A failure as pytest shows it: all of it among the failures, the reason in its short summary."""

    def __init__(self, text: str, reason: str) -> None:
        self._text = text
        self.reprcrash = SimpleNamespace(message=reason)

    def toterminal(self, tw: Any) -> None:
        for line in self._text.splitlines():
            tw.line(line)


class _ToRunLog(logging.Handler):
    """Has all that is logged in run.log, such as what a wait is waiting for."""

    def __init__(self, write: Callable[[str, datetime], None]) -> None:
        super().__init__(logging.DEBUG)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record), datetime.fromtimestamp(record.created, timezone.utc))
        except Exception:
            self.handleError(record)


class _ToTerminal(logging.Handler):
    """Shows at once what is logged at INFO and above, around pytest's capture: on its terminal, or for a worker, which
    has none (pytest-xdist), on standard error with the worker's name."""

    def __init__(self, config: pytest.Config, worker: str) -> None:
        super().__init__(logging.INFO)
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._terminal = None if worker else config.pluginmanager.get_plugin("terminalreporter")
        self.setFormatter(TimeOfDay(worker))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = textwrap.indent(f"{self.format(record)}\n", "  ")
            with self._capture.global_and_fixture_disabled():
                if self._terminal is None:
                    sys.stderr.write(text)
                    sys.stderr.flush()
                else:
                    self._terminal.ensure_newline()
                    self._terminal.write(text, flush=True)  # write_line would leave its end in the buffer
        except Exception:
            self.handleError(record)


def _of_others(record: logging.LogRecord) -> bool:
    """Whether pytest shows it beneath a failure: what is ours was shown at once, and stands in run.log."""
    return record.name.partition(".")[0] != LOGGER.name


class _Meanwhile:
    """Has pages made of what changes, in a thread of its own, so that whoever has changed something waits for none.

    They are made when those there are have stood for `PAGES_EVERY` seconds, and in a twentieth of the time at most.
    """

    def __init__(self, make: Callable[[], None]) -> None:
        self._make = make
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._next = 0.0  # when pages may be made again (`time.monotonic`)
        self._due: threading.Timer | None = None
        self._over = False

    def changed(self) -> None:
        with self._lock:
            if self._over or self._due is not None:
                return
            self._due = threading.Timer(max(0.0, self._next - time.monotonic()), self._when_due)
            self._due.daemon = True
            self._due.start()

    def make(self) -> None:
        """Have them made now."""
        with self._making:
            if self._over:
                return
            begin = time.thread_time()  # what it took of the processor, however busy the machine is
            self._next = time.monotonic() + PAGES_EVERY  # for what changes meanwhile
            self._make()
            took = time.thread_time() - begin
            self._next = time.monotonic() + max(PAGES_EVERY, PAUSE * took)

    def close(self) -> None:
        """None is made after this has returned, which those of the scenario's end would lie under."""
        with self._lock, self._making:
            self._over = True
            if self._due is not None:
                self._due.cancel()

    def _when_due(self) -> None:
        with self._lock:
            self._due = None
            self._next = time.monotonic() + PAGES_EVERY
        self.make()


class Reporting:
    """One for each process of a run: it has the run's folder once there is one."""

    def __init__(self, config: pytest.Config, run: str) -> None:
        self._config, self._run = config, run
        self._worker = getattr(config, "workerinput", {}).get("workerid", "")
        self._early: list[tuple[datetime, str]] = []  # what was logged before there was a folder
        self._xml: RunXml | None = None
        self.folder: RunFolder | None = None
        self._listen()

    def _listen(self) -> None:
        """Hear what is logged until the run's end, after which the logger is as it was."""
        config = self._config
        config.add_cleanup(partial(LOGGER.setLevel, LOGGER.level))
        LOGGER.setLevel(logging.DEBUG)
        for handler in (_ToRunLog(self.log), _ToTerminal(config, self._worker)):
            LOGGER.addHandler(handler)
            config.add_cleanup(partial(LOGGER.removeHandler, handler))
        if logs := config.pluginmanager.get_plugin("logging-plugin"):  # not under `-p no:logging`
            logs.report_handler.addFilter(_of_others)

    def log(self, line: str, at: datetime | None = None) -> None:
        """Append to run.log, which it is kept for until there is one."""
        at = at or datetime.now(timezone.utc)
        if self.folder is None:
            self._early.append((at, line))
        else:
            with suppress(OSError):  # a full disk is told elsewhere
                self.folder.log(line, at)

    def open(self, settings: Settings) -> RunFolder:
        """The folder of this run, made by whoever is first."""
        if self.folder is not None:
            return self.folder
        options = self._config.invocation_params.args
        place, rest = Path(settings.results_dir), lambda: about_run(self._config, settings, options)
        folder = RunFolder.open(place, self._run, who=self._worker, facts=rest)
        self._have(folder)
        return folder

    def _have(self, folder: RunFolder) -> None:
        self.folder = folder
        for moment, line in self._early:
            folder.log(line, moment)
        self._early.clear()
        if not self._worker:
            self._xml = RunXml(folder.path)
            for name, value in properties_of(folder.noted()).items():
                self._xml.add_global_property(name, value)
            self._config.pluginmanager.register(self._xml, "rookery-junit")
            self._xml.write()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        if FOLDER not in properties or self._worker:
            return
        if self.folder is None:  # a worker of pytest-xdist has made it
            self._have(RunFolder(Path(properties[FOLDER]).parent))
        self.log(f"{report.nodeid}: {report.when} {report.outcome} after {report.duration:.1f} s")
        if report.when != "call":
            self._pages(Path(properties[FOLDER]), self._config.rootpath / report.nodeid.partition("::")[0])

    @contextmanager
    def meanwhile(self, results: Results) -> Iterator[None]:
        """While it lasts there are pages that say how far the scenario is, so that a run that is killed has them."""
        file = self._config.rootpath / str(results.noted("test", "")).partition("::")[0]
        keeping = _Meanwhile(partial(self._pages, results.folder, file, meanwhile=True))
        with results.subscribe(keeping.changed):
            keeping.make()
            try:
                yield
            finally:
                keeping.close()

    def _pages(self, scenario: Path, file: Path, *, meanwhile: bool = False) -> None:
        """Make the pages of a scenario and of the run.

        `rookery report` makes them of the same files, so one that cannot be made fails neither scenario nor run.
        """
        causes = {} if meanwhile else ledger.causes(file)
        self._page(scenario.name, lambda pages: pages.scenario(scenario, causes=causes, meanwhile=meanwhile))
        self._page("the run", lambda pages: pages.run(scenario.parent, meanwhile=True))

    def _page(self, what: str, make: Callable[[ModuleType], Path]) -> None:
        try:
            from rookery.report import pages  # Jinja2 is nothing that other tests need

            make(pages)
        except Exception as error:
            self.log(f"no page of {what}: {type(error).__name__}: {error}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Iterator[None]:
        """Before pytest shows what failed, have that say all: by now the logs are gathered and looked through."""
        for report in [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]:
            if folder := dict(getattr(report, "user_properties", ())).get(FOLDER):
                try:
                    text = failures.block(Path(folder), when=report.when, shown=report.longreprtext)
                    report.longrepr = _Block(text, failures.reason(Path(folder), report.when))
                except Exception as error:  # pytest's own account of the failure stands
                    text = f"{report.nodeid}: no account of the failure: {type(error).__name__}: {error}"
                self.log(text)
        yield
        if self.folder is not None and not self._worker:
            terminalreporter.write_line(f"results: {self.folder.path}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Iterator[None]:
        """When the run's cluster is removed or kept, and the exit status settled."""
        yield
        if self.folder is not None and not self._worker:
            self._finished(int(getattr(session, "exitstatus", exitstatus)))

    def _finished(self, status: int) -> None:
        now = datetime.now(timezone.utc).isoformat()
        meaning = EXPLAINED.get(status, "an exit status of pytest's own")
        folder = self.folder
        if folder is None:
            return
        with suppress(OSError):
            folder.note(
                **used_in(folder.path), ended=now, outcome="finished", exit_status=status, exit_status_means=meaning
            )
            self.log(f"exit status {status}: {meaning}")
            self._page("the run", lambda pages: pages.run(folder.path))


def about_run(config: pytest.Config, settings: Settings, options: tuple[str, ...]) -> dict[str, Any]:
    """What run.json says from the beginning."""
    given = {name: getattr(settings, name) for name in settings.changed}
    seeds = {"fault_seed": settings.fault_seed, "order": getattr(config.option, "randomly_seed", None)}
    return {
        "command": ["pytest", *map(str, options)],
        "folder": str(config.invocation_params.dir),
        "settings": given,
        "versions": {"rook": settings.rook, "ceph": settings.ceph, "kubernetes": settings.kubernetes},
        "seeds": {name: seed for name, seed in seeds.items() if isinstance(seed, int)},
        **about_machine(),
    }


def properties_of(run: Mapping[str, Any]) -> dict[str, str]:
    """Of run.json, what is a property of the whole test suite."""
    harness, versions = run.get("harness", {}), run.get("versions", {})
    found = {"run": run.get("run"), "harness_commit": harness.get("commit"), **versions, **run.get("seeds", {})}
    return {name: str(value) for name, value in found.items() if value is not None}


def keep_traceback(call: pytest.CallInfo[Any], results: Results) -> None:
    """Write the whole traceback to traceback.txt, and leave those frames that are of waiting out of what is shown."""
    if call.excinfo is None or call.excinfo.errisinstance(pytest.skip.Exception):
        return
    whole = "".join(traceback.format_exception(call.excinfo.value))
    with suppress(OSError), results.path("traceback.txt").open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"in {call.when}:\n{whole}\n")
    shown = call.excinfo.traceback.filter(lambda entry: not any(part in str(entry.path) for part in WAITING))
    if shown:
        call.excinfo.traceback = shown


def report_failure(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
    report: pytest.TestReport,
    results: Results,
    *,
    machine: InfrastructureError | None,
) -> None:
    """Note how a stage of a scenario failed, if it did, and have pytest's report of it carry what others tell of it.

    A controller of pytest-xdist has nothing but those properties.
    """
    outcome: str = results.outcome  # which the end of its fixtures has settled
    if call.excinfo is not None:
        found = blamed(call.excinfo.value, call.when, machine=machine)
        outcome = outcome_of(found, at_setup=False)
        if outcome != "skipped":
            _note_failure(item, call, results, found, outcome)
    for name, value in ((FOLDER, str(results.folder)), (OUTCOME, outcome), (UNCOUNTED, round(results.uncounted_s, 1))):
        for properties in (item.user_properties, report.user_properties):
            properties[:] = [each for each in properties if each[0] != name] + [(name, value)]


def _note_failure(
    item: pytest.Item, call: pytest.CallInfo[Any], results: Results, error: BaseException, outcome: str
) -> None:
    """Put into report.json how it failed."""
    noted = {
        "when": call.when,
        "outcome": outcome,
        "type": type(error).__name__,
        "reason": str(error),
        "where": _where(item, call),
        "after_s": round(results.elapsed, 1),
        "after_phase": next(reversed(results.seconds()), ""),
    }
    results.record(failures=[*results.noted("failures", []), noted])


def _where(item: pytest.Item, call: pytest.CallInfo[Any]) -> str:
    """The last line of the scenario's own file that it came through."""
    if call.excinfo is None:
        return ""
    own = [entry for entry in call.excinfo.traceback if Path(str(entry.path)) == item.path]
    if not own:
        return ""
    entry = own[-1]
    statement = " ".join(str(entry.statement).split())
    place = item.path
    with suppress(ValueError):
        place = item.path.relative_to(item.config.rootpath)
    return f"{place}:{entry.lineno + 1}: {statement:.120}"
