"""The pod that appends lines: its script, in this machine's shell."""

import subprocess

import pytest
from rookery.workloads import files as files_module
from rookery.workloads.files import Files


@pytest.fixture
def appended(tmp_path, monkeypatch):
    """What the script has written to its volume and beside it, with a clock that goes by so many milliseconds at each
    look, until that is used up, and a `sync` that refuses one line."""

    def appended(*steps, refuses=0):
        volume = tmp_path / "volume"
        volume.mkdir()
        script = files_module._APPEND.replace("/tmp/", f"{tmp_path}/").replace("/volume", str(volume))
        times = " ".join(str(sum(steps[: number + 1])) for number in range(len(steps)))
        (tmp_path / "times").write_text("\n".join(times.split()) + "\n", encoding="utf-8")
        clock = f"""date() {{ head -n1 {tmp_path}/times; sed -i 1d {tmp_path}/times; }}
            sync() {{ [ -s {tmp_path}/times ] || exit 0; [ $i != {refuses} ]; }}"""
        subprocess.run(["sh", "-c", f"{clock}\n{script}"], check=True, timeout=20)
        read = {name: (tmp_path / name).read_text(encoding="utf-8").split() for name in ("synced", "longest-gap")}
        return (volume / "log").read_text(encoding="utf-8").split(), read["synced"], read["longest-gap"]

    return appended


def test_each_line_is_synced_before_the_next_and_the_longest_time_between_two_is_kept(appended):
    lines, synced, gap = appended(1000, 5, 70, 8)
    assert (lines, synced, gap) == (["1", "2", "3", "4"], ["3"], ["70"])  # the last was never synced


def test_a_line_that_could_not_be_synced_ends_no_gap(appended):
    _, synced, gap = appended(1000, 5, 70, refuses=2)
    assert (synced, gap) == (["3"], ["70"])


def test_the_gap_is_reported_in_seconds(monkeypatch):
    workload = Files(None, image="", storage_class="")
    monkeypatch.setattr(workload.pod, "sh", lambda script: "1250\n")
    assert workload.longest_gap() == 1.25
