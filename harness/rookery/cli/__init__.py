"""The `rookery` command, and nothing else.

Exit status: 0 all is well, 1 something is degraded (doctor), left or touched (bench kill), or nobody read the output to
its end, 2 bad input or something missing, 3 the infrastructure failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rookery import __version__
from rookery.bench import common as bench
from rookery.bench import core as core_bench
from rookery.bench import history as history_bench
from rookery.bench import kill as kill_bench
from rookery.bench import save as save_bench
from rookery.bench import volumes as volume_bench
from rookery.catalogue import catalogue, showing
from rookery.cluster import snapshots
from rookery.errors import RookeryError, UsageError
from rookery.images import archives, engine, programs, recipes, resolve
from rookery.machine import capacity, doctor, setup, setup_undo
from rookery.machine.leases import Lease, SweepIncomplete, sweep
from rookery.machine.signals import sigterm_as_ctrl_c
from rookery.report.results import last_results
from rookery.settings import Settings, option_name, refuse_unknown_variables
from rookery.settings_check import require_state_dir
from rookery.storage import cluster as storage

GIB = 1024**3
NOT_FOR_BENCHES = ("keep_cluster", "no_snapshots", "all", "slow", "shard", "fault_seed")
IMAGE_SETTINGS = ("rook", "rook_manifests", "ceph", "kubernetes", "kind_image", "csi_driver", "registry_mirror")
EXAMPLES = """\
examples:
  rookery doctor                    what this machine has and lacks
  rookery setup                     bring it to where a run works
  rookery images ensure             have the images that every run needs, pulled or built
  pytest scenarios/                 run the core scenarios (or: python3 -m tox -e e2e); --all, --slow: more
  rookery scenarios power           what there is to run, and what came of it last
  rookery snapshots                 saved clusters, from which scenarios begin
  rookery bench restore --runs 3    how long it takes to put one back
  rookery bench volumes             what volumes can do, and how long they take
  rookery bench core --of results   where the seconds of the last run went
  rookery bench history             whether the checker of histories finds what is wrong
  rookery bench kill --times 10     kill runs at random moments, and see that a sweep leaves nothing
  rookery sweep                     remove what killed runs left behind
"""


def main(argv: Sequence[str] | None = None) -> int:
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, where it can be caught, and not when the interpreter ends
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 1


def _nobody_reads() -> bool:
    """Whether what we print into has been closed, as by `| head`; then the rest goes to nowhere, without a word.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    closed = [stream.fileno() for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream.fileno())]
    for descriptor in closed:  # what is still in a buffer is written when the interpreter ends
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(closed)


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are told in any case; see poll(2)
    return bool(poll.poll(0))


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    as_it_was = sigterm_as_ctrl_c()
    try:
        refuse_unknown_variables(os.environ)
        require_state_dir()
        return arguments.command(arguments)
    except RookeryError as error:
        print(f"rookery: {error}", file=sys.stderr)
        return error.exit_status
    except PermissionError as error:  # the state folder is root's, and so may be the cache
        print(f"rookery: {error.strerror}: {error.filename}\n  hint: as root: sudo rookery ...", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("rookery: interrupted", file=sys.stderr)
        return 130
    finally:
        as_it_was()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rookery",
        description="End-to-end tests of storage on throwaway Kubernetes clusters.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rookery {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("doctor", help="what this machine has and lacks for a run, each with a hint")
    command.description = "Looks and changes nothing. Exit status: 0 all ok, 1 something degraded, 2 something missing."
    _json_option(command)
    command.set_defaults(command=_doctor)

    command = commands.add_parser("setup", help="bring this machine to where a run works")
    command.description = (
        "Installs packages that are missing (with apt-get, which may remove nothing for them), starts a docker engine "
        "where there is none, loads the kernel modules loop and fuse, raises the limits of inotify, and puts kind into "
        "the cache; idempotent. An engine that works is never touched, and none is started beside another. What it "
        "changes is on record in the state folder, for --undo."
    )
    command.epilog = "examples: rookery setup --dry-run; rookery setup; rookery setup --undo --dry-run"
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    other = command.add_mutually_exclusive_group()
    other.add_argument("--undo", action="store_true", help="take back what set-up changed, and nothing else")
    other.add_argument("--stop-engine", action="store_true", help="stop the engine that set-up started, and no other")
    command.set_defaults(command=_setup)

    _add_images(commands)

    _add_scenarios(commands)
    _add_snapshots(commands)
    _add_bench(commands)

    command = commands.add_parser("sweep", help="remove clusters, disks, routes and mounts that killed runs left")
    command.description = "Removes what no living process holds. Only things the harness made have a lease."
    command.add_argument("--all", action="store_true", help="clusters kept by --keep-cluster as well")
    _json_option(command)
    command.set_defaults(command=_sweep)
    return parser


def _add_images(commands: argparse._SubParsersAction) -> None:
    images = commands.add_parser("images", help="the images of a run: list, ensure, save, load")
    images.description = (
        "Without a command: list them with origin, size and age. They are those that every run needs: the nodes', "
        "Rook's, Ceph's and the storage driver's. A run itself has those of the scenarios that it selects as well; "
        "--all adds the ones of every scenario here. Origin: built from packages, by a recipe of the harness, the "
        "vendor's, local (nobody can tell), or missing."
    )
    images.epilog = "examples: rookery images --all; rookery images ensure; rookery images save --all images.tar"
    _image_options(images)
    _json_option(images)
    images.set_defaults(command=_list_images)
    inner = images.add_subparsers(metavar="COMMAND")
    ensure = inner.add_parser("ensure", help="have them: from docker, the cache, a registry, or their recipes")
    _image_options(ensure)
    ensure.set_defaults(command=_ensure_images)
    for name, command, text in (
        ("save", _save_images, "write them to one file, for a machine without registries"),
        ("load", _load_images, "read them from such a file"),
    ):
        sub = inner.add_parser(name, help=text)
        sub.add_argument("file", type=_path)
        if name == "save":
            _image_options(sub)
        sub.set_defaults(command=command)


def _add_scenarios(commands: argparse._SubParsersAction) -> None:
    listed = commands.add_parser("scenarios", help="what there is to run, what it reproduces, what came of it last")
    listed.description = (
        "Lists the scenarios as pytest collects them, with what they state of themselves and their last results. "
        "Needs neither docker nor a cluster."
    )
    listed.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="only those; as pytest's -k has it")
    listed.add_argument(
        "--scenarios", type=_path, default=Path("scenarios"), metavar="DIR", help="their folder (default: scenarios)"
    )
    form = listed.add_mutually_exclusive_group()
    _json_option(form)
    form.add_argument("--markdown", action="store_true", help="print docs/scenarios.md")
    _options(listed, ["results_dir"])
    listed.set_defaults(command=_list_scenarios)


def _add_snapshots(commands: argparse._SubParsersAction) -> None:
    snapshots_parser = commands.add_parser("snapshots", help="saved clusters: list, prune")
    snapshots_parser.description = (
        "Without a command: list them, the newest first, with what they are of and whether they would be used now."
    )
    _json_option(snapshots_parser)
    snapshots_parser.set_defaults(command=_list_snapshots)
    inner = snapshots_parser.add_subparsers(metavar="COMMAND")
    prune = inner.add_parser("prune", help="remove those that cannot be used any more")
    prune.add_argument("--all", action="store_true", help="remove every one; the next run deploys anew")
    # Suppressed, so that `snapshots --json prune` is the same as `snapshots prune --json`.
    prune.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of a table")
    prune.set_defaults(command=_prune_snapshots)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    benches = commands.add_parser("bench", help="measure what the harness and its volumes take on this machine")
    benches.description = (
        "Prints the median and every run of each step, and the goal where there is one; no figure is a failure. "
        "Each run's results folder has all of it."
    )
    inner = benches.add_subparsers(required=True, metavar="BENCH")
    for name, command, text in (
        ("bring-up", _bench_bring_up, "from nothing to HEALTH_OK, with the images at hand"),
        ("restore", _bench_restore, "put a saved cluster back: to HEALTH_OK, or to every row of Cassandra readable"),
        ("save", _bench_save, "save a working cluster and go on: frozen seconds, harm, and what is restored of it"),
        ("core", _bench_core, "the core scenarios: where their seconds go, and how many the harness itself adds"),
        ("kill", _bench_kill, "kill a run at random moments, sweep, and see what is left and what was touched"),
        ("volumes", _bench_volumes, "volumes beside `rbd bench` of the same pool, their latency, and what goes wrong"),
    ):
        sub = inner.add_parser(name, help=text)
        if name == "volumes":
            sub.add_argument(
                "--rounds", type=int, default=3, metavar="N", help="of bandwidth and random writes (default: 3)"
            )
            sub.add_argument(
                "--only", nargs="+", choices=tuple(volume_bench.PARTS), default=(), help="only these parts of it"
            )
            _options(sub, ["fault_seed"])
        elif name == "core":
            _core_options(sub)
        elif name == "kill":
            _kill_options(sub)
        else:
            sub.add_argument("--runs", type=int, default=3, metavar="N", help="so many times (default: 3)")
        if name == "save":
            sub.add_argument(
                "--restore-every", type=int, default=10, metavar="N", help="and judge what comes back; 0: never"
            )
        if name in ("restore", "save"):
            sub.add_argument("--layer", choices=("rook", "cassandra"), default="rook", help="what is saved")
        if name == "restore":
            sub.add_argument("--verify", action="store_true", help="in the end compare all of it, byte for byte")
        _json_option(sub)
        not_this_one = (*NOT_FOR_BENCHES, "kubeconfig") if name == "kill" else NOT_FOR_BENCHES
        _options(sub, [s.name for s in fields(Settings) if s.name not in not_this_one])
        sub.set_defaults(command=command)
    _history_options(inner.add_parser("history", help="what the checker of histories finds, and what a long one takes"))


def _history_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Makes histories of clients by chance: of a store that keeps its promises, and the same ones made wrong in "
        "each way that is known. Each has to be judged as what it is. Then one long history is loaded and judged, in "
        "seconds of the processor and MiB. Needs neither docker nor a cluster; exit status 3 if one is judged wrongly."
    )
    parser.epilog = "examples: rookery bench history --samples 1000; rookery bench history --fault-seed 7 --json"
    parser.add_argument("--samples", type=int, default=10_000, metavar="N", help="of each kind (default: 10000)")
    parser.add_argument(
        "--operations", type=int, default=1_000_000, metavar="N", help="lines of the long one (default: 1000000)"
    )
    parser.add_argument("--fault-seed", type=int, default=0, metavar="N", help="of the first of each kind (default: 0)")
    _json_option(parser)
    parser.set_defaults(command=_bench_history)


def _core_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs the core scenarios with pytest, each time with a results folder of its own, and prints a table of where "
        "the seconds went. Each second counts once, however many phases it is in; what is in none counts as acts "
        "within a scenario, and as the harness's otherwise. Shares are of all runs together."
    )
    parser.epilog = "examples: rookery bench core --runs 3; rookery bench core --of results --json"
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--runs", type=int, default=1, metavar="N", help="so many times (default: 1)")
    which.add_argument("--of", type=_path, metavar="DIR", help="run nothing: the last run with its results in DIR")


def _kill_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs two scenarios with pytest, or `rookery setup`, and ends it with SIGKILL at a random moment: a phase is "
        "drawn, each as often as any other, and how far into it. Then it sweeps, and compares the machine with what it "
        "was before that run, without asking the harness's own records: containers, networks, volumes, loop devices, "
        "mounts, routes, links, files of the state folder, unfinished ones of the cache, temporary ones, kubeconfig "
        "entries, processes. Decoys lie beside the run: containers, folders and a loop device that are called like its "
        "own, its --kubeconfig with comments and others' entries, and, after the kill, a kind cluster of its name: "
        "they have to be what they were, byte for byte. Exit status: 0 nothing left and nothing touched, 1 something "
        "was, 2 bad input, 3 it could not be done. Needs a machine on which nobody else makes such things meanwhile. "
        "Saved clusters of the cache may be replaced."
    )
    parser.epilog = (
        "examples: rookery bench kill --times 100 --fault-seed 7; "
        "rookery bench kill --only save restore --times 10 --json"
    )
    names = [phase.name for phase in kill_bench.PHASES]
    parser.add_argument(
        "--times", type=int, default=len(names), metavar="N", help=f"so many kills (default: {len(names)}, one a phase)"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=(), help="in these phases only")
    parser.add_argument(
        "--scenario",
        nargs="+",
        default=kill_bench.SCENARIOS,
        metavar="ID",
        help="run these instead, by pytest's node ids; two at least, or no state is saved",
    )
    _options(parser, ["fault_seed"])


def _image_options(parser: argparse.ArgumentParser) -> None:
    _options(parser, IMAGE_SETTINGS)
    # Suppressed as the others are; see `_options`.
    more = {"action": "store_true", "dest": "all_images", "default": argparse.SUPPRESS}
    parser.add_argument("--all", help="those of every scenario as well: databases, load balancer, ...", **more)
    parser.add_argument(
        "--scenarios",
        type=_path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="their folder, for --all (default: scenarios)",
    )


def _options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for setting in fields(Settings):
        if setting.name in names:
            meta = setting.metadata
            more = {"choices": meta["choices"]} if meta["choices"] else {"metavar": meta["metavar"]}
            # Suppressed, so that an option before the inner command is not overwritten by its absence after it.
            parser.add_argument(option_name(setting.name), default=argparse.SUPPRESS, help=meta["help"], **more)


def _path(text: str) -> Path:
    """A shell leaves `~` alone in `--of=~/results`."""
    return Path(os.path.expanduser(text))


def _json_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _settings(arguments: argparse.Namespace, only: Sequence[str] | None = None) -> Settings:
    """What was asked for, looked at: all of it, or those settings that the command uses."""
    return Settings.from_sources(vars(arguments), pyproject=Path("pyproject.toml")).check(only=only)


def _say(line: str) -> None:
    print(line, flush=True)


def _doctor(arguments: argparse.Namespace) -> int:
    checks = doctor.diagnose()
    if arguments.json:
        print(doctor.as_json(checks))
    else:
        Console().print(doctor.table(checks))
    return doctor.status(checks)


def _setup(arguments: argparse.Namespace) -> int:
    if arguments.stop_engine:
        if arguments.dry_run:
            raise UsageError("--stop-engine is done or not done", hint="leave --dry-run away")
        setup.stop_engine(_say)
    elif arguments.undo:
        setup_undo.undo(_say, dry_run=arguments.dry_run)
    else:
        settings = Settings.from_sources({}, pyproject=Path("pyproject.toml"))
        settings.check(only=settings.changed)  # what the run after it would refuse
        setup.setup(partial(programs.build_kind, say=_say), _say, dry_run=arguments.dry_run)
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    capacity.require_linux()
    try:
        removed = sweep(everything=arguments.all, say=None if arguments.json else _say)
    except SweepIncomplete as error:
        _tell_removed(arguments, error.removed)
        raise
    _tell_removed(arguments, removed)
    if arguments.json:
        return 0
    kept = [lease.name for lease in Lease.all() if lease.kept]
    if kept:
        print(f"kept: {', '.join(kept)}; `rookery sweep --all` removes what is kept")
    if not removed:
        print("nothing to remove")
    return 0


def _tell_removed(arguments: argparse.Namespace, removed: Sequence[str]) -> None:
    if arguments.json:
        print(json.dumps(removed))
        return
    for line in removed:
        print(f"removed {line}")


def _list_scenarios(arguments: argparse.Namespace) -> int:
    found = catalogue.collect(arguments.scenarios, arguments.pattern)
    if arguments.markdown:
        print(showing.page(found), end="")
        return 0
    last = last_results(Path(_settings(arguments, ["results_dir"]).results_dir))
    if arguments.json:
        print(json.dumps([scenario.as_dict(last.get(scenario.name)) for scenario in found], indent=1))
        return 0
    Console().print(showing.listing(found, last, ago=_age))
    print(showing.summary(found, last))
    return 0


def _list_snapshots(arguments: argparse.Namespace) -> int:
    found = snapshots.stored()
    if arguments.json:
        print(json.dumps([_described(snapshot) for snapshot in found], indent=1))
        return 0
    table = Table("snapshot", "of", "size", "age", "usable")
    for snapshot in found:
        cell = snapshot.cell
        of = f"{cell['cluster']}: Rook {cell['rook']}, Kubernetes {cell['kubernetes']}, {cell['driver']}"
        table.add_row(
            f"{snapshot.path.parent.name}/{snapshot.name}",
            of,
            f"{snapshot.bytes / GIB:.2f} GiB",
            _age(_created(snapshot)),
            snapshot.unusable() or "yes",
        )
    Console().print(table)
    total = sum(snapshot.bytes for snapshot in found)
    print(f"{len(found)} snapshots, {total / GIB:.2f} GiB beside the images, under {snapshots.folder()}")
    return 0


def _created(snapshot: snapshots.Snapshot) -> str:
    return datetime.fromtimestamp(snapshot.created, timezone.utc).isoformat(timespec="seconds")


def _described(snapshot: snapshots.Snapshot) -> dict[str, object]:
    return {
        "name": snapshot.name,
        "path": str(snapshot.path),
        "bytes": snapshot.bytes,
        "created": _created(snapshot),
        "unusable": snapshot.unusable(),
        "cell": dict(snapshot.cell),
    }


def _prune_snapshots(arguments: argparse.Namespace) -> int:
    removed = snapshots.prune(everything=arguments.all)
    if arguments.json:
        print(json.dumps([_described(snapshot) for snapshot in removed], indent=1))
        return 0
    for snapshot in removed:
        print(f"removed {snapshot.path.parent.name}/{snapshot.name} ({snapshot.bytes / GIB:.2f} GiB)")
    if not removed:
        print("nothing to remove")
    return 0


def _bench_bring_up(arguments: argparse.Namespace) -> int:
    return _report_bench(
        arguments,
        bench.bring_up(_settings(arguments), _progress(arguments), runs=_at_least_one("--runs", arguments.runs)),
    )


def _bench_restore(arguments: argparse.Namespace) -> int:
    measured = bench.restore(
        _settings(arguments),
        _progress(arguments),
        runs=_at_least_one("--runs", arguments.runs),
        layer=arguments.layer,
        verify=arguments.verify,
    )
    return _report_bench(arguments, measured)


def _bench_save(arguments: argparse.Namespace) -> int:
    measured = save_bench.save(
        _settings(arguments),
        _progress(arguments),
        runs=_at_least_one("--runs", arguments.runs),
        layer=arguments.layer,
        restore_every=arguments.restore_every,
    )
    return _report_bench(arguments, measured)


def _bench_core(arguments: argparse.Namespace) -> int:
    if arguments.of:
        return _report_bench(arguments, core_bench.of(arguments.of), core_bench.table)
    measured = core_bench.core(
        _settings(arguments),
        _progress(arguments),
        runs=_at_least_one("--runs", arguments.runs),
        options=_given(arguments),
    )
    return _report_bench(arguments, measured, core_bench.table)


def _bench_kill(arguments: argparse.Namespace) -> int:
    measured = kill_bench.kill(
        _settings(arguments),
        _progress(arguments),
        times=_at_least_one("--times", arguments.times),
        only=arguments.only,
        scenarios=arguments.scenario,
        options=_given(arguments),
    )
    return _report_bench(arguments, measured)


def _given(arguments: argparse.Namespace) -> list[str]:
    """The options of pytest that were given, but the folder for results: the environment and pyproject.toml it reads
    itself."""
    given = {s.name: value for s in fields(Settings) if (value := getattr(arguments, s.name, None)) is not None}
    return [f"{option_name(name)}={value}" for name, value in given.items() if name != "results_dir"]


def _bench_volumes(arguments: argparse.Namespace) -> int:
    measured = volume_bench.volumes(
        _settings(arguments),
        _progress(arguments),
        rounds=_at_least_one("--rounds", arguments.rounds),
        only=arguments.only,
    )
    return _report_bench(arguments, measured)


def _bench_history(arguments: argparse.Namespace) -> int:
    measured = history_bench.history(
        _progress(arguments),
        samples=_at_least_one("--samples", arguments.samples),
        operations=_at_least_one("--operations", arguments.operations),
        seed=arguments.seed,
    )
    return _report_bench(arguments, measured)


def _at_least_one(option: str, number: int) -> int:
    if number < 1:
        raise UsageError(f"{option} {number}: at least one", hint=f"{option} 1")
    return number


def _progress(arguments: argparse.Namespace) -> Callable[[str], None]:
    """Progress goes beside JSON, not into it."""
    return (lambda line: print(line, file=sys.stderr, flush=True)) if arguments.json else _say


def _steps(measured: bench.Bench) -> Table:
    columns = ["step", "median", *(("goal", "reached") if measured.goals else ()), "runs"]
    table = Table(*columns)
    for row in bench.rows(measured):
        table.add_row(*(getattr(row, column) for column in columns))
    return table


def _report_bench(arguments: argparse.Namespace, measured: bench.Bench, table: Callable[[Any], Table] = _steps) -> int:
    if arguments.json:
        print(json.dumps(measured.as_dict(), indent=1))
        return measured.exit_status
    Console().print(table(measured))
    for name, fact in measured.facts.items():
        print(f"{name}: {_fact(fact)}")
    return measured.exit_status


def _fact(fact: object) -> str:
    """What has several parts has each on a line of its own."""
    parts = [f"{key}: {value}" for key, value in fact.items()] if isinstance(fact, dict) else fact
    return "".join(f"\n  {part}" for part in parts) if parts and isinstance(parts, list) else str(fact)


def _list_images(arguments: argparse.Namespace) -> int:
    images = [resolve.look(reference) for reference in _wanted_images(arguments)]
    if arguments.json:
        print(json.dumps([{**vars(image), "origin": image.origin.value} for image in images], indent=1))
        return 0
    table = Table("image", "origin", "size", "age")
    for image in images:
        origin = image.origin.value
        if image.origin is resolve.Origin.MISSING and recipes.find(image.reference):
            origin += ", can be built"
        size = f"{image.size / GIB:.2f} GiB" if image.size else ""
        table.add_row(image.reference, origin, size, _age(image.created))
    Console().print(table)
    return 0


def _wanted_images(arguments: argparse.Namespace) -> list[str]:
    return [*storage.needed_images(_settings(arguments, IMAGE_SETTINGS)).all, *_images_of_scenarios(arguments)]


def _images_of_scenarios(arguments: argparse.Namespace) -> list[str]:
    if not getattr(arguments, "all_images", False):
        return []
    found = catalogue.collect(getattr(arguments, "scenarios", Path("scenarios")))
    return sorted({image for scenario in found for image in scenario.images})


def _age(created: str) -> str:
    if not created:
        return ""
    # Docker gives nanoseconds, which fromisoformat of Python 3.10 does not take.
    then = datetime.fromisoformat(created[:19]).replace(tzinfo=timezone.utc)
    hours = (datetime.now(timezone.utc) - then).total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _ensure_images(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    _, images = storage.ensure_images(_settings(arguments, IMAGE_SETTINGS), _say, _images_of_scenarios(arguments))
    for image in images:
        print(f"{image.reference}: {image.origin.value}")
    print(f"{len(images)} images in {time.monotonic() - started:.0f} s")
    return 0


def _save_images(arguments: argparse.Namespace) -> int:
    if arguments.file.is_dir() or not arguments.file.absolute().parent.is_dir():
        raise UsageError(f"{arguments.file}: no file can be written there", hint="a file in a folder that is there")
    images = _wanted_images(arguments)
    resolve.save(images, str(arguments.file))
    print(f"{len(images)} images in {arguments.file} ({arguments.file.stat().st_size / GIB:.2f} GiB)")
    return 0


def _load_images(arguments: argparse.Namespace) -> int:
    archives.require_archive(arguments.file)
    engine.load(str(arguments.file))
    print(f"loaded {arguments.file}; `rookery images` lists what is here now")
    return 0
