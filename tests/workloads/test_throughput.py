"""The same load for fio and for `rbd bench`, and what is understood of what they print."""

import json

import pytest
from rookery.bench.volumes import RANDOM, READ, WRITE
from rookery.errors import InfrastructureError
from rookery.workloads.throughput import Load

SMALL = Load("small", write=True, block=4096, total=40960, span=1 << 20)


def fio_json(*, error=0, read=0, write=0, runtime=2000):
    """As fio 3.39 prints it, without what nobody reads."""
    sides = {"read": {"io_bytes": read, "bw_bytes": 1, "iops": 0.5, "runtime": runtime if read else 0}}
    sides["write"] = {"io_bytes": write, "bw_bytes": 1, "iops": 0.5, "runtime": runtime if write else 0}
    job = {"jobname": "load", "groupid": 0, "error": error, **sides}
    return json.dumps({"fio version": "fio-3.39", "timestamp": 1764000000, "jobs": [job], "disk_util": []}, indent=2)


def rbd_bench_output(end):
    return (
        f"bench  type write io_size 4096 io_threads 16 bytes 40960 pattern random\n  SEC       OPS   OPS/SEC\n{end}\n"
    )


def options(argv):
    return dict(option.removeprefix("--").partition("=")[::2] for option in argv[1:])


@pytest.mark.parametrize("load", [WRITE, READ, RANDOM])
def test_both_programs_are_given_the_same(load):
    fio, rbd = options(load.fio("/volume/load")), load.rbd_bench("replicapool/bench")
    rbd = dict(zip(rbd[2:-1:2], rbd[3:-1:2], strict=True))
    assert (fio["bs"], fio["io_size"], fio["iodepth"]) == (rbd["--io-size"], rbd["--io-total"], rbd["--io-threads"])
    assert fio["rw"].endswith(rbd["--io-type"])
    assert fio["rw"].startswith("rand") == (rbd["--io-pattern"] == "rand")
    assert (fio["direct"], fio["ioengine"]) == ("1", "libaio")


def test_what_is_written_is_stored_before_it_counts():
    assert options(WRITE.fio("/dev/volume"))["end_fsync"] == "1"
    assert options(RANDOM.fio("/dev/volume"))["sync"] == "dsync"
    assert "--readonly" in READ.fio("/dev/volume")  # and never writes what it then would read


def test_requests_per_second_of_fio():
    assert SMALL.parse_fio(fio_json(write=40960)) == 5
    warned = f"fio: this platform does not support {{something}}\nload: (g=0): rw=write\n{fio_json(write=40960)}\n"
    assert SMALL.parse_fio(warned) == 5
    assert READ.parse_fio(fio_json(read=READ.total, runtime=500)) == 128


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (fio_json(write=40960, error=28), "fio did 40960 of 40960 bytes in 2.0 s, error 28"),
        (fio_json(write=4096), "fio did 4096 of 40960 bytes"),
        (fio_json(read=40960), "fio did 0 of 40960 bytes in 0.0 s"),
        ("fio: pid=0, err=2/file:filesetup.c:815, func=open(/volume/load)\n", "not what fio prints: .*filesetup"),
        ("", "not what fio prints"),
        ('{"jobs": []}', "not what fio prints"),
    ],
)
def test_a_load_that_fio_did_not_apply_in_full_has_no_figure(output, said):
    with pytest.raises(InfrastructureError, match=said):
        SMALL.parse_fio(output)


@pytest.mark.parametrize(
    "end",
    [
        "elapsed: 10   ops: 10   ops/sec: 23917.8   bytes/sec: 93 MiB/s",  # Ceph 14 and later
        "elapsed:    10  ops:       10  ops/sec: 23917.80  bytes/sec: 97967308.80",  # before
        "    1     28896   29027.5   113 MiB/s\nelapsed: 10   ops: 10   ops/sec: 2.39178e+04   bytes/sec: 93 MiB/s",
    ],
)
def test_requests_per_second_of_rbd_bench(end):
    assert SMALL.parse_rbd_bench(rbd_bench_output(end)) == pytest.approx(23917.8)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (rbd_bench_output("elapsed: 1   ops: 9   ops/sec: 9   bytes/sec: 36 KiB/s"), "rbd bench did 9 of 10 requests"),
        (rbd_bench_output("write error: (28) No space left on device"), "not what rbd bench prints: .*No space left"),
        ("", "not what rbd bench prints"),
    ],
)
def test_a_load_that_rbd_bench_did_not_apply_in_full_has_no_figure(output, said):
    with pytest.raises(InfrastructureError, match=said):
        SMALL.parse_rbd_bench(output)
