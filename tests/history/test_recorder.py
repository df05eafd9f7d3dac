import json
import string
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.errors import Unknown, UsageError
from rookery.history.injected import Injected
from rookery.history.operations import History, Operation, format_keys, parse_keys
from rookery.history.recorder import Recorder


class Ticks:
    """A clock that moves by one nanosecond each time it is looked at."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


@pytest.fixture
def recorder(tmp_path):
    with Recorder(tmp_path / "history.jsonl", monotonic_ns=Ticks(), unix_time=lambda: 1.5) as recorder:
        yield recorder


def test_a_line_is_in_the_file_before_the_call_returns(recorder):
    recorder.invoke("write", process=0, key=7, value="seven")

    assert json.loads(recorder.path.read_text(encoding="utf-8")) == {
        "process": 0, "type": "invoke", "f": "write", "key": 7, "value": "seven", "time_ns": 1, "at": 1.5,
    }  # fmt: skip


def test_outcomes_come_back_as_they_were_recorded(recorder):
    outcomes = {"ok": {}, "fail": {"error": "Unavailable"}, "info": {"error": "WriteTimeout"}}
    for key, (outcome, details) in enumerate(outcomes.items()):
        begin = recorder.invoke("write", process=recorder.new_process(), key=key)
        getattr(recorder, outcome)(begin, node="10.0.0.1", **details)

    assert [(write.key, write.outcome, write.error) for write in recorder.history().writes()] == [
        (0, "ok", None),
        (1, "fail", "Unavailable"),
        (2, "info", "WriteTimeout"),
    ]
    assert {operation.node for operation in recorder.history().operations if operation.type != "invoke"} == {"10.0.0.1"}


def test_a_key_is_written_once(recorder):
    recorder.fail(recorder.invoke("write", process=0, key=7), "Unavailable")

    with pytest.raises(ValueError, match="key of its own"):
        recorder.invoke("write", process=0, key=7)


def test_an_operation_is_completed_once(recorder):
    begin = recorder.invoke("write", process=0, key=7)
    recorder.info(begin, "OperationTimedOut")

    with pytest.raises(ValueError, match="completed before"):
        recorder.ok(begin)
    assert [write.outcome for write in recorder.history().writes()] == ["info"]


def test_a_process_does_one_thing_at_a_time(recorder):
    recorder.invoke("write", process=0, key=1)

    with pytest.raises(ValueError, match="has not completed"):
        recorder.invoke("read", process=0)


def test_a_second_recorder_refuses_the_file(recorder):
    with pytest.raises(FileExistsError):
        Recorder(recorder.path)


def injected(started_ns, name="node kill", **more):
    return Injected(name, started_ns, started_ns + 1, proof="seen dead", **more)


def test_a_fault_is_kept_with_all_that_is_reported_of_it(recorder):
    with recorder.fault("node kill") as keep:
        asked = recorder.invoke("write", process=0, key=1)  # while docker is asked for what there is
        keep(injected(asked.time_ns + 1, targets=("worker", "worker2"), loses_unsynced=True))
        during = recorder.invoke("write", process=1, key=2)

    (fault,) = recorder.history().faults()
    assert (fault.name, fault.targets, fault.loses_unsynced) == ("node kill", ("worker", "worker2"), True)
    assert (fault.started_ns, fault.proof) == (asked.time_ns + 1, "seen dead")
    assert during.time_ns < fault.ended_ns
    assert recorder.history().unverified_faults == 0


def test_whose_history_each_file_is_is_noted_when_there_is_another_workload(tmp_path):
    told = []
    with Recorder(tmp_path / "history.jsonl", on_named=told.append) as recorder:
        for name in ("first", "first", "second"):
            recorder.of_workload(name)
    assert told == [
        {"history.jsonl": "first"},
        {"history.jsonl": "first", "history-second.jsonl": "second"},
    ]


def test_a_fault_is_in_the_history_of_each_workload(recorder):
    assert recorder.of_workload("first") is recorder.of_workload("first") is recorder
    other = recorder.of_workload("second")
    assert (other.path.name, other.name) == ("history-second.jsonl", "second")
    for each in (recorder, other):
        each.ok(each.invoke("write", process=each.new_process(), key=each.new_key()))
    with recorder.fault("node kill") as keep:
        keep(Injected("node kill", recorder._monotonic_ns(), recorder._monotonic_ns(), proof="seen dead"))
    with pytest.raises(ZeroDivisionError), recorder.fault("pod delete"):
        raise ZeroDivisionError
    for each in (recorder, other):
        (write,) = each.history().writes()
        (fault,) = each.history().faults()
        assert (write.key, fault.name, fault.proof) == (0, "node kill", "seen dead")
        assert [line.error for line in each.history().operations if line.type == "info"] == ["ZeroDivisionError()"]
    recorder.close()
    with pytest.raises(ValueError, match="closed file"):
        other.invoke("write", process=1, key=1)


def test_a_workload_that_begins_after_a_fault_is_refused(recorder):
    recorder.of_workload("first")
    with recorder.fault("node kill"):
        pass
    assert recorder.of_workload("first") is recorder
    with pytest.raises(UsageError, match="second begins after a fault") as caught:
        recorder.of_workload("second")
    assert caught.value.hint


def test_a_fault_that_started_before_its_block_is_no_fault(recorder):
    with pytest.raises(ValueError, match="not the fault that was begun"), recorder.fault("node kill") as keep:
        keep(injected(0))
    assert (recorder.history().faults(), recorder.history().unverified_faults) == ([], 1)


def test_another_fault_than_the_one_that_was_begun_is_no_fault(recorder):
    with pytest.raises(ValueError, match="not the fault that was begun"), recorder.fault("node kill") as keep:
        keep(injected(10**18, "pod delete"))
    assert (recorder.history().faults(), recorder.history().unverified_faults) == ([], 1)


def test_a_fault_without_a_record_is_no_fault(recorder):
    with recorder.fault("node kill"):
        pass
    assert (recorder.history().faults(), recorder.history().unverified_faults) == ([], 1)


@pytest.mark.parametrize("then", ["write", "fault"])
def test_what_nobody_checked_is_unknown(recorder, then):
    recorder.require_checked()  # nothing was done
    recorder.ok(recorder.invoke("write", process=0, key=0))
    with pytest.raises(Unknown, match=r"nobody checked .*history\.jsonl"):
        recorder.require_checked()
    recorder.checked()
    recorder.ok(recorder.invoke("read", process=0, value="ALL"), value="0")
    recorder.require_checked()
    if then == "fault":
        with recorder.fault("pod delete"):
            pass
    else:
        recorder.invoke("write", process=0, key=1)
    with pytest.raises(Unknown):
        recorder.require_checked()


def test_torn_rows_and_the_seed_come_back_as_they_were_recorded(recorder):
    recorder.seed(range(5))
    begin = recorder.invoke("read", process=recorder.new_process(), value="ALL")
    recorder.ok(begin, value="1-3", torn={7: "no value", -5: "not a key"})
    begin = recorder.invoke("read-seed", process=recorder.new_process(), value="QUORUM")
    recorder.ok(begin, value="0-4")

    history = recorder.history()
    (read,), (of_seed,) = history.reads(), history.seed_reads()
    assert (read.keys, read.torn) == ({1, 2, 3, 7, -5}, {7: "no value", -5: "not a key"})
    assert (history.seed(), of_seed.keys, of_seed.torn) == (set(range(5)), set(range(5)), {})


def test_a_fault_that_failed_is_no_fault(recorder):
    def fault_in_vain():
        with recorder.fault("node kill"):
            raise OSError("docker kill")

    with pytest.raises(OSError, match="docker kill"):
        fault_in_vain()
    assert recorder.history().faults() == []


def test_threads_do_not_mix_their_lines(recorder):
    def work():
        process = recorder.new_process()
        for _ in range(50):
            recorder.ok(recorder.invoke("write", process=process, key=recorder.new_key(), value="x" * 300))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    history = recorder.history()
    assert sorted(write.key for write in history.writes()) == list(range(400))
    assert {write.outcome for write in history.writes()} == {"ok"}
    times = [operation.time_ns for operation in history.operations]
    assert times == sorted(times)


def test_a_torn_last_line_is_kept_apart(recorder):
    recorder.ok(recorder.invoke("write", process=0, key=1))
    recorder.invoke("write", process=0, key=2)
    whole = recorder.path.read_text(encoding="utf-8")
    recorder.path.write_text(whole[:-20], encoding="utf-8")

    history = History.load(recorder.path)

    assert [write.key for write in history.writes()] == [1]
    assert history.torn
    assert history.torn in whole


@pytest.mark.parametrize("damage", ["not json", "[]", '{"process": 0}', ""])
def test_damage_elsewhere_is_named(recorder, damage):
    recorder.invoke("write", process=0, key=1)
    good = recorder.path.read_text(encoding="utf-8")
    recorder.path.write_text(f"{good}{damage}\n{good}", encoding="utf-8")

    with pytest.raises(UsageError, match=r"history\.jsonl:2"):
        History.load(recorder.path)


def test_a_last_line_without_its_end_is_an_operation_if_it_is_complete(recorder):
    recorder.ok(recorder.invoke("write", process=0, key=1))
    recorder.path.write_text(recorder.path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")

    history = History.load(recorder.path)
    assert ([write.outcome for write in history.writes()], history.torn) == (["ok"], "")


@pytest.mark.parametrize("text", ["-1", "x", "3-1", "1-3,3", "5,4", "1-", "-", ",", "1,,2", "1 ", "+1", "1_0", "\u0661",
                                  "0-99999999", "9999999999"])  # fmt: skip
def test_what_are_no_keys(text):
    with pytest.raises(ValueError, match="no run of keys"):
        parse_keys(text)


def test_an_empty_history_is_empty(recorder):
    assert recorder.history() == History([], "")


@pytest.mark.parametrize(
    ("begin", "end", "outcome", "in_flight"),
    [
        pytest.param(5, 9, "ok", False, id="over before the fault"),
        pytest.param(5, 15, "ok", False, id="acknowledged while nodes still died"),
        pytest.param(5, 15, "fail", False, id="refused while nodes still died"),
        pytest.param(5, 15, "info", True, id="its coordinator died"),
        pytest.param(5, 25, "ok", True, id="acknowledged after the fault"),
        pytest.param(5, 25, "info", True, id="timed out after the fault"),
        pytest.param(5, None, None, True, id="never ended"),
        pytest.param(15, 25, "info", True, id="begun while nodes died"),
        pytest.param(25, 30, "fail", False, id="begun after the fault"),
        pytest.param(5, 9, "info", False, id="timed out before the fault"),
    ],
)
def test_in_flight_at_a_fault(begin, end, outcome, in_flight):
    operations = [Operation(0, "invoke", "write", 1, "1", begin, 0.0)]
    if end:
        operations.append(Operation(0, outcome, "write", 1, None, end, 0.0))

    assert bool(History(operations).in_flight(Injected("node kill", 10, 20))) is in_flight


text = st.none() | st.text(alphabet=string.printable + "ß→\u2028\x85", max_size=20)


@given(value=text, error=text, node=text, key=st.none() | st.integers(min_value=0))
def test_an_operation_is_one_line_and_survives_it(value, error, node, key):
    operation = Operation(3, "info", "read", key, value, 12, 1.25, error, node)
    line = operation.to_json()

    assert "\n" not in line
    assert Operation.from_json(line) == operation


@given(st.sets(st.integers(min_value=0, max_value=200)))
def test_keys_survive_their_short_form(keys):
    assert parse_keys(format_keys(keys)) == keys


def test_keys_are_written_as_runs():
    assert format_keys([9, 1, 2, 3, 5, 3]) == "1-3,5,9"
    assert format_keys([]) == ""
