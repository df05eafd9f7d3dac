"""The longest time in which nothing was acknowledged, whoever had asked for it."""

import pytest
from rookery.errors import Unknown
from rookery.history.gaps import longest_gap
from rookery.history.recorder import Recorder


@pytest.fixture
def history(tmp_path):
    """The history of writes, each as the seconds at which it began and ended, and how."""

    def history(*writes):
        moments = sorted(
            (second, number, how) for number, (begin, end, how) in enumerate(writes) for second in (begin, end)
        )
        now = [0.0]
        open_writes = {}
        with Recorder(
            tmp_path / "history.jsonl", monotonic_ns=lambda: int(now[0] * 1e9), unix_time=lambda: now[0]
        ) as record:
            for second, number, how in moments:
                now[0] = second
                if number in open_writes:
                    getattr(record, how)(open_writes[number], *(() if how == "ok" else ("why",)))
                else:
                    open_writes[number] = record.invoke("write", process=number, key=number)
            return record.history()

    return history


def test_it_is_the_longest_time_between_two_that_were_acknowledged(history):
    writes = [(0, 1, "ok"), (1, 2, "ok"), (2.5, 9, "ok"), (9, 10.5, "ok")]
    assert longest_gap(history(*writes)) == 7


def test_what_was_not_acknowledged_does_not_end_it_and_another_clients_write_does(history):
    assert longest_gap(history((0, 1, "ok"), (1, 4, "fail"), (1.5, 5, "info"), (5, 8, "ok"))) == 7


def test_clients_fill_each_others_gaps(history):
    assert longest_gap(history((0, 1, "ok"), (0, 3, "ok"), (1, 5, "ok"))) == 2


def test_of_fewer_than_two_nothing_is_known(history):
    with pytest.raises(Unknown, match="1 writes were acknowledged"):
        longest_gap(history((0, 1, "ok"), (1, 2, "info")))
