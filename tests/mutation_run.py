"""`python tests/mutation_run.py [PATTERN ...]`: changes the code that decides, a place at a time, and sees a test fail.

What mutmut changes, and the tests that are to see it, is in pyproject.toml; PATTERN is for names of mutants, and all of
DECIDING by default. A change that no test sees is a survivor: a test is missing, or tests/survivors.toml says why none
can see it. Ends with 1 for a survivor that is not explained there, and for an explanation that explains nothing.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DECIDING = (
    "rookery.history.checkers.*",
    "rookery.kube.conditions.*",
    "rookery.plugin.outcomes.*",
    "rookery.storage.recovery.*",
    "rookery.rook.recovery.*",
    "rookery.local.system.xǁLocalVolumesǁhealthy__*",
    "rookery.rook.status.*",
    # Of these two modules only what decides: how a scenario and a run end, and what "restored" is.
    "rookery.plugin.session.x_finish__*",
    "rookery.plugin.session.xǁSessionǁexit_status__*",
    "rookery.storage.cluster.xǁStorageClusterǁ_require_all_healthy__*",
    "rookery.storage.cluster.xǁStorageClusterǁrestore__*",
    "rookery.storage.saved.xǁSavedǁrestore__*",
    "rookery.storage.cluster.xǁStorageClusterǁstorage_recovered__*",
    "rookery.storage.cluster.xǁStorageClusterǁhealthy__*",
    "rookery.steps.*",
)
SOURCE = "src"
EXPLAINED = Path(__file__).with_name("survivors.toml")
SEEN = ("killed", "timeout")  # a change that makes a test go on for ever is seen as well

Survivor = tuple[str, str]  # the function, and the change: its lines, each with `-` or `+` before it


def main(patterns: Sequence[str]) -> int:
    os.nice(10)
    shutil.rmtree("mutants", ignore_errors=True)  # mutmut would believe the tests to be what they were
    with _source():
        return _run(patterns or DECIDING)


def _run(patterns: Sequence[str]) -> int:
    subprocess.run([*MUTMUT, "run", *patterns], check=True)
    statuses = {
        name: status for name, status in _statuses().items() if any(fnmatch.fnmatch(name, each) for each in patterns)
    }
    survivors = {_survivor(name): name for name, status in statuses.items() if status not in SEEN}
    explained = _explained()
    new = [name for survivor, name in survivors.items() if survivor not in explained]
    stale = [each for each in explained if patterns is DECIDING and each not in survivors]
    for name in new:
        print(f"\n{name}: {statuses[name]}\n{_survivor(name)[1]}")
    for function, change in stale:
        print(f"\n{function}: is explained in {EXPLAINED.name}, but does not survive (any more)\n{change}")
    print(
        f"\n{len(statuses)} mutants, {len(survivors)} of them survive: {len(survivors) - len(new)} explained, "
        f"{len(new)} not; {len(stale)} explanations of nothing"
    )
    if new:
        print(f"  hint: a test that fails with it (mutmut apply NAME), or the reason in {EXPLAINED.name}")
    return 1 if new or stale else 0


MUTMUT = (sys.executable, "-m", "mutmut")


@contextmanager
def _source() -> Iterator[None]:
    """Have the package below `src` too, while mutmut runs.

    Of a module below there mutmut knows the name by which tests import it; below any other folder it takes the folder's
    name for a part of the module's (https://github.com/boxed/mutmut, `strip_prefix` of "src."), and no test reaches it.
    """
    link = Path(SOURCE)
    if link.is_symlink():
        link.unlink()  # of a run that was killed
    link.symlink_to("harness")
    try:
        yield
    finally:
        link.unlink()


def _statuses() -> dict[str, str]:
    lines = _output("results", "--all", "true").splitlines()
    return dict(line.strip().rsplit(": ", 1) for line in lines if "__mutmut_" in line)


def _survivor(name: str) -> Survivor:
    lines = _output("show", name).splitlines()
    changed = [line for line in lines if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")]
    return name.rpartition("__mutmut_")[0], "\n".join(f"{line[0]} {line[1:].strip()}" for line in changed)


def _explained() -> dict[Survivor, str]:
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["survivor"]
    return {(entry["of"], change.strip()): entry["why"] for entry in entries for change in entry["changes"]}


def _output(*command: str) -> str:
    return subprocess.run([*MUTMUT, *command], check=True, encoding="utf-8", stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
