"""`rookery bench kill`: SIGKILL at random moments of a run, a sweep, and what is left of it then: nothing, and whatever
is somebody else's is as it was.

Each round draws a phase and how much of it is to pass. The run is pytest with scenarios of the project in a session of
its own, followed by its results; the one process that is killed is pytest's, and what it had started lives on for as
long as it will. So a sweep meets what it would meet after an out-of-memory kill. What the machine has is compared with
what it had before the run, without asking any lease (see `rookery.bench.leftovers`), and so are decoys
(`rookery.bench.decoys`): most of them are there before the run, and a kind cluster of the run's own
name is made after the kill.
"""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rookery.bench import leftovers
from rookery.bench.common import Bench
from rookery.bench.decoys import LABEL, Decoys, Kubeconfig, cluster_of_same_name, like_a_run
from rookery.bench.leftovers import Inventory, Places, survivors
from rookery.errors import DeadlineExceeded, InfrastructureError, RookeryError, UsageError
from rookery.machine import capacity, doctor
from rookery.machine.docker import docker_output
from rookery.machine.kind_nodes import KIND_CLUSTER_LABEL
from rookery.machine.run import CommandFailed, run
from rookery.machine.signals import ending_as_ctrl_c
from rookery.paths import cache_dir, state_dir
from rookery.report.files import write_json
from rookery.report.run_folder import bench_folder, timings_under
from rookery.settings import Settings
from rookery.storage.states import STORAGE_READY
from rookery.waiting import NotYet, minutes, wait_for

log = logging.getLogger(__name__)

# Two, as a state is saved only when a second scenario will need it; of the core, and short.
SCENARIOS = (
    "scenarios/test_pools.py::test_pool_with_both_layouts",
    "scenarios/test_not_mounted.py::test_driver_for_another_directory",
)
ATTEMPTS = 3  # at a moment of a phase; those of which the run ended first are repeated
POLL = 0.05  # seconds between two looks at a run
SHORTEST = 0.2  # seconds of a phase, so that a moment within it can be drawn
SWEPT = minutes(10)
SETTLED = 15.0  # the kernel and the engine let go of some things a moment after they were told to
OUTLIVED = minutes(2)  # of what pytest had started, to end by itself; more than kind takes to give up
UNPACKED = ("images", "stores", "snapshots")  # of the cache: what the nodes' images are made into
# Of the environment; a run that keeps its cluster, or is another than was asked for, is no run to kill.
NOT_PASSED_ON = (
    "ROOKERY_KEEP_CLUSTER",
    "ROOKERY_NO_SNAPSHOTS",
    "ROOKERY_SHARD",
    "ROOKERY_KUBECONFIG",
    "PYTEST_ADDOPTS",
)


@dataclass(frozen=True)
class Phase:
    """A part of a run, between the ends of two phases of its results; an empty name is the process's begin or end."""

    name: str
    usual: float  # seconds, until they are measured
    begins: str = ""
    ends: str = ""
    unless: str = ""  # phase of the results that shows that the run has gone another way
    setup: bool = False  # of `rookery setup`, and not of pytest
    no_snapshots: bool = False  # of a run that uses no saved state
    own_cache: bool = False  # of one that finds no images unpacked for its nodes

    def of_same_run(self, other: Phase) -> bool:
        """Whether one run has both of them."""
        return (self.setup, self.no_snapshots, self.own_cache) == (other.setup, other.no_snapshots, other.own_cache)


PHASES = (
    Phase("set-up", 2, setup=True),
    Phase("images", 60, ends="image store ready", own_cache=True),
    Phase("kind-create", 25, "image store ready", "kind cluster created", no_snapshots=True),
    Phase("deploy", 120, "kind cluster created", "storage driver Ready", no_snapshots=True),
    Phase("save", 9, "storage driver Ready", f"{STORAGE_READY.name} saved", no_snapshots=True),
    Phase("restore", 60, "images ready", "restored: every pod Ready", unless="image store ready"),
    Phase("scenario", 60, "baseline taken"),
)


@dataclass(frozen=True)
class Moment:
    """Of a phase, after that part of the seconds that it usually takes."""

    phase: Phase
    part: float
    renewed: bool  # whether the user then has an entry of the cluster's name in their kubeconfig, of another cluster


def moments(times: int, seed: int, phases: Sequence[Phase] = PHASES) -> list[Moment]:
    """So many moments; each phase comes as often as any other, in an order of its own each time round."""
    draw, drawn = random.Random(seed), list[Moment]()
    while len(drawn) < times:
        turn = list(phases)
        draw.shuffle(turn)
        drawn += [Moment(phase, draw.random(), draw.random() < 0.5) for phase in turn]
    return drawn[:times]


class Run(Protocol):
    """What is to be killed."""

    def status(self) -> int | None:
        """Its exit status, once it has ended."""

    def reached(self) -> list[str]:
        """Names of the phases whose ends its results tell by now, in their order."""

    def kill(self) -> bool:
        """Kill it with SIGKILL; whether that is what it died of."""


@dataclass(frozen=True)
class Attempt:
    """What became of trying to kill a run at a moment; times are those of the clock that it was given."""

    began: float
    ended: float
    seen: Mapping[str, float]  # when the end of each phase of its results was seen first
    killed: bool

    def at(self, name: str) -> float | None:
        """When that phase of the results had ended; for an empty name, when the run began."""
        return self.seen.get(name) if name else self.began


def strike(
    running: Run,
    moment: Moment,
    usual: float,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Attempt:
    """Kill the run at that moment of a phase that usually takes `usual` seconds.

    A run that has gone another way than by that phase is left to end by itself: it makes what the next one needs.
    """
    phase, began, seen = moment.phase, now(), dict[str, float]()
    while running.status() is None:
        for name in running.reached():
            seen.setdefault(name, now())
        begun = seen.get(phase.begins) if phase.begins else began
        due = begun is not None and now() >= begun + moment.part * usual and phase.unless not in seen
        if due:
            return Attempt(began, now(), seen, running.kill())
        pause(POLL)
    return Attempt(began, now(), seen, killed=False)


def learn(usual: dict[str, float], killed_in: Phase, attempt: Attempt) -> None:
    """Take what phases took, of those that the run went through from their begin to their end."""
    for phase in PHASES:
        if not phase.of_same_run(killed_in) or phase.unless in attempt.seen:
            continue
        begin = attempt.at(phase.begins)
        end = attempt.seen.get(phase.ends) if phase.ends else None if attempt.killed else attempt.ended
        if begin is not None and end is not None:
            usual[phase.name] = max(end - begin, SHORTEST)


@dataclass(frozen=True)
class Swept:
    """What a sweep said."""

    seconds: float
    removed: Sequence[str]
    failure: Sequence[str] = ()  # a line, if it ended with another status than 0


@dataclass(frozen=True)
class Aftermath:
    """What was found after a kill and a sweep."""

    swept: Swept
    left: Sequence[str]
    changed: Sequence[str]  # of decoys
    still_left: Sequence[str] = ()  # after a second sweep, where the first had left something


@dataclass(frozen=True)
class Round:
    """One kill, and what came of it."""

    number: int
    phase: str
    run_s: float  # since the run began
    phase_s: float  # since the phase did
    after: str  # the last phase of the run's results that had ended
    attempts: int
    sweep_s: float
    removed: Sequence[str]  # by the sweep, in its words
    left: Sequence[str]
    changed: Sequence[str]
    still_left: Sequence[str] = ()

    @classmethod
    def of(cls, number: int, phase: Phase, attempt: Attempt, attempts: int, aftermath: Aftermath) -> Round:
        begin = attempt.at(phase.begins)
        return cls(
            number=number,
            phase=phase.name,
            run_s=round(attempt.ended - attempt.began, 1),
            phase_s=round(attempt.ended - (attempt.began if begin is None else begin), 1),
            after=next(reversed(list(attempt.seen)), ""),
            attempts=attempts,
            sweep_s=aftermath.swept.seconds,
            removed=aftermath.swept.removed,
            left=aftermath.left,
            changed=aftermath.changed,
            still_left=aftermath.still_left,
        )

    def __str__(self) -> str:
        after = f", after {self.after!r}" if self.after else ""
        still = f"after another sweep: {_listed(self.still_left) or 'nothing'}; "
        again = still if self.left else ""
        return (
            f"{self.phase}: killed {self.run_s:.1f} s after the run began, {self.phase_s:.1f} s into the phase{after}; "
            f"swept in {self.sweep_s:.1f} s; left: {_listed(self.left) or 'nothing'}; {again}"
            f"decoys: {_listed(self.changed) or 'unchanged'}"
        )


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)


@dataclass
class KillBench(Bench):
    """What `Bench` has, and each round; what was left and what of decoys was changed are the facts that count."""

    rounds: list[Round] = field(default_factory=list)

    def add(self, done: Round) -> None:
        self.rounds.append(done)
        self.runs.append({f"sweep after {done.phase}": round(done.sweep_s, 1)})
        self.facts["kills"] = len(self.rounds)
        for fact in ("left", "changed"):
            self.facts[fact] += [f"round {done.number}, {done.phase}: {line}" for line in getattr(done, fact)]

    @property
    def exit_status(self) -> int:
        """1 where something was left or touched, whatever else went wrong."""
        return 1 if self.facts["left"] or self.facts["changed"] else super().exit_status


def kill(
    settings: Settings,
    *,
    times: int,
    only: Sequence[str] = (),
    scenarios: Sequence[str] = SCENARIOS,
    options: Sequence[str] = (),
) -> KillBench:
    """Kill a run of these scenarios `times` times, in the phases named `only`, or all; `options` are pytest's.

    What a round leaves does not end it. What cannot be done at all does: the reason is the fact `failed` then.
    """
    phases = [phase for phase in PHASES if not only or phase.name in only]
    seed = settings.fault_seed if settings.fault_seed is not None else random.SystemRandom().randrange(2**31)
    bench = KillBench("kill", facts={"seed": seed, "kills": 0, "left": [], "changed": []})
    _require_machine(settings, scenarios)
    folder = bench_folder(Path(settings.results_dir).absolute(), "kill")
    try:
        folder.mkdir(parents=True)
        with ExitStack() as stack:
            stack.callback(ending_as_ctrl_c())  # so that decoys go
            rounds = stack.enter_context(_Rounds(settings, folder, scenarios, options))
            message = "seed %d; %d phases; logs under %s; decoys have %s in their names"
            log.info(message, seed, len(phases), folder, rounds.set_id)
            for number, moment in enumerate(moments(times, seed, phases), start=1):
                done = rounds.play(number, moment)
                log.info("round %d/%d: %s", number, times, done)
                bench.add(done)
                write_json(folder / "kill.json", bench.as_dict())
    except UsageError:
        raise
    except (RookeryError, DeadlineExceeded, OSError) as error:
        bench.facts["failed"] = f"{type(error).__name__}: {error}"
    return bench


def _require_machine(settings: Settings, scenarios: Sequence[str]) -> None:
    """Raises `UsageError` for scenarios that are not there and a name that is taken, `InfrastructureError` for a
    machine on which no run would work, so that `rookery setup`, which is killed as well, would have something to do."""
    for scenario in scenarios:
        if not Path(scenario.partition("::")[0]).exists():
            raise UsageError(f"{scenario}: no such scenario", hint="go to the project's folder, or give --scenario")
    if settings.storage != "rook":
        raise UsageError(f"--storage {settings.storage}: its phases are not known", hint="--storage rook")
    capacity.require_root()
    if doctor.status(doctor.diagnose()) > 1:
        raise InfrastructureError("this machine lacks what a run needs", hint="rookery doctor")
    swept = _swept(os.environ)
    for line in swept.removed:
        log.info("removed %s, which a killed run had left", line)
    if swept.failure:  # nor could it after a kill
        raise InfrastructureError(
            "\n".join(swept.failure), hint="what its hints say, until `rookery sweep` ends with 0"
        )
    name = settings.cluster_name
    label = f"label={KIND_CLUSTER_LABEL}={name}"
    if nodes := docker_output("ps", "-a", "--filter", label, "--format", "{{.Names}}").split():
        decoys = f"docker rm -f -v $(docker ps -aq --filter label={LABEL})"
        raise UsageError(
            f"there is a kind cluster {name} already: {', '.join(nodes)}",
            hint=f"another --cluster-name, or rookery sweep --all; of a benchmark that was killed itself: {decoys}",
        )


class _Rounds:
    """What the rounds of one benchmark share: decoys, the user's own folder with some of them, and what phases take."""

    def __init__(self, settings: Settings, folder: Path, scenarios: Sequence[str], options: Sequence[str]) -> None:
        self.set_id = secrets.token_hex(4)
        self._cluster, self._folder = settings.cluster_name, folder
        self._scenarios, self._options = scenarios, options
        self._usual = {phase.name: phase.usual for phase in PHASES}
        self._own = Path(tempfile.mkdtemp(prefix=f"rookery-decoys-{self.set_id}-"))
        self._kubeconfig = Kubeconfig(self._own / "kube" / "config")
        self._decoys = Decoys(self.set_id)
        # Beside the cache, so on the same filesystem.
        self._own_cache = cache_dir().with_name(f"rookery-kill-{self.set_id}")

    def __enter__(self) -> _Rounds:
        try:
            self._decoys.__enter__()
        except BaseException:
            self._remove_own()
            raise
        try:
            lying_beside = like_a_run(
                self._cluster, self.set_id, own=self._own, state=state_dir(), image=self._decoys.image
            )
            self._decoys.add([*lying_beside, self._kubeconfig])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._decoys.__exit__()
        finally:
            self._remove_own()

    def _remove_own(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)
        shutil.rmtree(self._own_cache, ignore_errors=True)

    def play(self, number: int, moment: Moment) -> Round:
        """Kill a run at that moment and check what is left; a run that ends before is followed by another.

        Raises `InfrastructureError` if `ATTEMPTS` runs have ended by themselves.
        """
        phase, environment = moment.phase, self._environment(moment.phase)
        places, changed = self._places(environment), list[str]()
        for attempts in range(1, ATTEMPTS + 1):
            folder = self._folder / f"{number}-{phase.name}-{attempts}"
            folder.mkdir()
            self._kubeconfig.entry_of = ""
            self._decoys.replace(self._kubeconfig)
            with self._cache_of(phase):
                before = Inventory.taken(places)
                with _running(self._argv(phase, folder), environment, folder) as running:
                    attempt = strike(running, moment, self._usual[phase.name])
                    learn(self._usual, phase, attempt)
                    if attempt.killed:
                        aftermath = self._aftermath(moment, running.session, before, places, environment)
                        aftermath = replace(aftermath, changed=[*changed, *aftermath.changed])
                        return Round.of(number, phase, attempt, attempts, aftermath)
            message = "round %d: the run ended with %s before its moment in %s"
            log.info(message, number, running.status(), phase.name)
            changed += self._decoys.changed()  # which a run that ends by itself has to leave alone as well
            self._decoys.renew()
        raise InfrastructureError(
            f"round {number}: {ATTEMPTS} runs ended before they could be killed in {phase.name}",
            hint=f"see {folder / 'output.txt'}",
        )

    def _aftermath(
        self, moment: Moment, session: int, before: Inventory, places: Places, environment: Mapping[str, str]
    ) -> Aftermath:
        """What a user finds who makes a cluster of that name, and sweeps."""
        same_name = cluster_of_same_name(self._cluster, self.set_id, image=self._decoys.image)
        self._decoys.add(same_name)
        if moment.renewed:
            self._kubeconfig.entry_of = self._cluster
            self._decoys.replace(self._kubeconfig)
        swept = _swept(environment)
        living = _outlived(session)  # it may still make things, or remove them, after the sweep
        changed = self._decoys.changed()
        self._decoys.remove(same_name)
        left = [*swept.failure, *living, *leftovers.left(before, places, within=SETTLED)]
        still: list[str] = []
        if left:
            _end(session)
            still = [*_swept(environment).failure, *leftovers.left(before, places, within=SETTLED)]
        self._decoys.renew()  # last: what is made anew was not there before
        return Aftermath(swept, left, changed, still)

    def _argv(self, phase: Phase, folder: Path) -> list[str]:
        if phase.setup:
            return [sys.executable, "-m", "rookery", "setup"]
        given = [*self._options, f"--kubeconfig={self._kubeconfig.path}", f"--results-dir={folder}"]
        return [
            sys.executable,
            "-m",
            "pytest",
            *self._scenarios,
            *given,
            *(["--no-snapshots"] if phase.no_snapshots else []),
        ]

    def _environment(self, phase: Phase) -> dict[str, str]:
        """Ours, with a folder for temporary files in which nobody else has any, and the cache that the phase needs."""
        temporary = self._own / "tmp"
        temporary.mkdir(exist_ok=True)
        passed_on = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        cache = {"XDG_CACHE_HOME": str(self._own_cache)} if phase.own_cache else {}
        return {**passed_on, "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary), **cache}

    def _places(self, environment: Mapping[str, str]) -> Places:
        caches = [cache_dir()]
        if environment.get("XDG_CACHE_HOME") == str(self._own_cache):
            caches.append(self._own_cache / cache_dir().name)
        return Places(caches, Path(environment["TMPDIR"]), (Path.home() / ".kube" / "config",))

    @contextmanager
    def _cache_of(self, phase: Phase) -> Iterator[None]:
        """For a run that is to unpack the nodes' images: a cache that has all of the user's but what was unpacked."""
        if not phase.own_cache:
            yield
            return
        try:
            folder = self._own_cache / cache_dir().name
            folder.mkdir(parents=True, exist_ok=True)
            for entry in cache_dir().glob("*"):
                if entry.name not in UNPACKED and not (folder / entry.name).is_symlink():
                    (folder / entry.name).symlink_to(entry)
            yield
        finally:
            shutil.rmtree(self._own_cache, ignore_errors=True)


class _Process:
    """A run: a process that leads a session of its own, so that what outlives it can be told from all others'."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        with (folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self.session = self._process.pid

    def status(self) -> int | None:
        return self._process.poll()

    def reached(self) -> list[str]:
        found: list[str] = []
        for timings in timings_under(self._folder):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found += [phase["name"] for phase in json.loads(timings.read_text(encoding="utf-8"))["phases"]]
        return found

    def kill(self) -> bool:
        self._process.kill()
        return self._process.wait() == -signal.SIGKILL


@contextmanager
def _running(argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[_Process]:
    """A run; in the end nothing of its session lives, and after an interrupt nothing of it is left."""
    running = _Process(argv, environment, folder)
    try:
        yield running
    except BaseException:
        running.kill()
        _end(running.session)
        with suppress(RookeryError):
            _swept(environment)
        raise
    finally:
        running.kill()
        _end(running.session)


def _end(session: int) -> None:
    for process, _ in survivors(session):
        with suppress(DeadlineExceeded):  # in uninterruptible sleep; it is told as left
            process.end(signal.SIGKILL, within=10)


def _outlived(session: int) -> list[str]:
    """A line for each process of the session that goes on and on."""
    living: list[str] = []

    def gone() -> None:
        living[:] = [f"process {process.pid} ({command})" for process, command in survivors(session)]
        if living:
            raise NotYet(", ".join(living))

    with suppress(DeadlineExceeded):
        wait_for(gone, what="what the run had started to end", within=OUTLIVED)
    return living


def _swept(environment: Mapping[str, str]) -> Swept:
    """Sweep as a user does, by the command."""
    argv, began = [sys.executable, "-m", "rookery", "sweep", "--json"], time.monotonic()
    try:
        removed = json.loads(run(argv, timeout=SWEPT, env=environment).stdout)
    except CommandFailed as error:
        return Swept(round(time.monotonic() - began, 1), [], [f"what a sweep could not do: {error.message}"])
    return Swept(round(time.monotonic() - began, 1), removed)
