"""`rookery bench kill`."""

from __future__ import annotations

import argparse

from rookery.bench import kill as bench
from rookery.cli import options
from rookery.cli.bench import common


def arguments(parser: argparse.ArgumentParser) -> None:
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
    names = [phase.name for phase in bench.PHASES]
    parser.add_argument(
        "--times",
        type=options.at_least_one,
        default=len(names),
        metavar="N",
        help="number of kills (default: %(default)s, one a phase)",
    )
    parser.add_argument("--only", nargs="+", choices=names, default=(), help="in these phases only")
    parser.add_argument(
        "--scenario",
        nargs="+",
        default=bench.SCENARIOS,
        metavar="ID",
        help=f"scenarios by their node ids, two at least, or no state is saved (default: {' '.join(bench.SCENARIOS)})",
    )
    options.add_settings(parser, ["fault_seed"])
    common.add_run_options(parser, without=["kubeconfig"])


def run(arguments: argparse.Namespace) -> int:
    measured = bench.kill(
        options.settings(arguments),
        times=arguments.times,
        only=arguments.only,
        scenarios=arguments.scenario,
        options=options.given(arguments),
    )
    return common.report(arguments, measured)
