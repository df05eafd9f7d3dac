"""`rookery bench`: one file a benchmark."""

from __future__ import annotations

from rookery.cli.parsers import CommandParser

# By name, in the order of the help; each is in the module of that name here.
BENCHES = {
    "bring-up": "from nothing to HEALTH_OK, with the images cached",
    "restore": "restore a saved cluster: to HEALTH_OK, or to every row of Cassandra readable",
    "save": "save a working cluster and go on: frozen seconds, harm, and what is restored of it",
    "core": "the core scenarios: where their seconds go, and how many the harness itself adds",
    "kill": "kill a run at random moments, sweep, and see what is left and what was touched",
    "volumes": "volumes beside `rbd bench` of the same pool, their latency, and what goes wrong",
    "page": "the page of a long history: written, its size, painted, and how soon a hover answers",
    "start": "what the plugin costs a run of pytest that does not use it",
    "history": "what the checker of histories finds, and what a long one takes",
}


def arguments(parser: CommandParser) -> None:
    parser.description = (
        "Prints the median and every run of each step, and the goal where there is one; no figure is a failure. "
        "Each run's results folder has all of it."
    )
    parser.add_commands(BENCHES, package=__name__)
