"""What the etcd client makes of what it is told. The members are stand-ins that speak the gateway's JSON."""

import json
from base64 import b64decode, b64encode
from types import SimpleNamespace

import pytest
import urllib3
from fakes import plays_kube
from rookery.errors import InfrastructureError
from rookery.history.recorder import Recorder
from rookery.history.rows import value_of
from rookery.images import recipes
from rookery.waiting import NotYet
from rookery.workloads.etcd import KIND, client
from rookery.workloads.etcd.client import Client, outcome_of
from rookery.workloads.etcd.workload import Etcd
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, ReadTimeoutError

MEMBERS = {f"etcd-{number}": f"10.244.{number}.5" for number in range(3)}
REFUSED = NewConnectionError(None, "refused")


class Members:
    """Three copies of the same keys; `missing` has keys that a member lacks, `raises` and `says` what it does."""

    def __init__(self):
        self.keys, self.missing, self.raises, self.says = {}, {}, {}, {}
        self.unsynced, self.puts = set(), 0
        self.asked = []

    def request(self, method, url, *, body="{}", headers=None):
        host, _, path = url.removeprefix("http://").partition(":2379")
        body = json.loads(body)
        self.asked.append((host, path, body))
        if error := self.raises.get(host):
            raise error
        if path == "/metrics":
            syncs = 2 if host in self.unsynced else 2 + self.puts
            text = f"# HELP x\netcd_disk_wal_fsync_duration_seconds_count {syncs}\n"
            return SimpleNamespace(status=200, data=text.encode())
        status, answer = self.says.get(host) or (200, self.answer(host, path, body))
        return SimpleNamespace(status=status, data=json.dumps(answer).encode())

    def answer(self, host, path, body):
        key = b64decode(body["key"])
        header = {"revision": str(len(self.keys) + 1)}
        if path.endswith("put"):
            self.keys[key] = body["value"]
            self.puts += 1
            return {"header": header}
        end = b64decode(body["range_end"])
        found = sorted(each for each in self.keys if key <= each < end and each not in self.missing.get(host, ()))
        page = found[: body["limit"]]
        kvs = [{"key": b64encode(each).decode(), "value": self.keys[each]} for each in page]
        return {"header": header, "kvs": kvs, "more": len(found) > len(page)}

    def clear(self):
        pass


@pytest.fixture
def members(monkeypatch):
    members = Members()
    monkeypatch.setattr(client.urllib3, "PoolManager", lambda **_: members)
    return members


@pytest.fixture
def record(tmp_path):
    with Recorder(tmp_path / "history.jsonl") as record:
        yield record


@pytest.fixture
def etcd(members, record):
    return Client(MEMBERS, table="rows", record=record)


def raised_by_urllib3(port, timeout):
    """What urllib3 itself raises for a request to that port."""
    pool = urllib3.PoolManager(retries=False, timeout=timeout)
    try:
        pool.request("POST", f"http://127.0.0.1:{port}/", body="{}")
    except urllib3.exceptions.HTTPError as error:
        return error
    raise AssertionError("it was answered")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (REFUSED, "fail"),
        (ConnectTimeoutError("no route"), "fail"),
        (ReadTimeoutError(None, "", "no answer"), "info"),
        (ProtocolError("reset"), "info"),
        (client.Refused("HTTP 503: etcdserver: request timed out"), "info"),
        (client.Refused("HTTP 429: etcdserver: mvcc: database space exceeded"), "info"),
        (KeyboardInterrupt(), "info"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, BaseException) else it,
)
def test_a_write_failed_only_where_nothing_was_sent(error, outcome):
    assert outcome_of(error) == outcome


def test_urllib3_distinguishes_a_refused_connection_from_one_that_does_not_answer():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert outcome_of(raised_by_urllib3(port, 0.05)) == "info"  # taken by the kernel, and never answered
    assert outcome_of(raised_by_urllib3(port, 1.0)) == "fail"


def test_each_write_is_recorded_as_it_ended(etcd, members, record):
    assert etcd.write(0, 0) == "ok"
    members.raises["10.244.1.5"] = ReadTimeoutError(None, "", "no answer")
    assert etcd.write(0, 1) == "info"
    members.raises["10.244.2.5"] = REFUSED
    assert etcd.write(1, 2) == "fail"
    members.says["10.244.0.5"] = (503, {"error": "etcdserver: request timed out"})
    assert etcd.write(2, 3) == "info"

    assert [(write.key, write.outcome) for write in record.history().writes()] == [
        (0, "ok"),
        (1, "info"),
        (2, "fail"),
        (3, "info"),
    ]
    assert members.keys == {b"rows/0000000000": b64encode(value_of(0)).decode()}


def test_at_quorum_one_member_is_asked_and_at_all_every_copy_has_to_have_the_row(etcd, members, record):
    for key in range(4):
        etcd.write(0, key)
    members.missing["10.244.2.5"] = {b"rows/0000000001"}
    members.asked.clear()
    assert etcd.read_rows("QUORUM") == {0, 1, 2, 3}
    assert {host for host, *_ in members.asked} == {"10.244.0.5"}
    assert etcd.read_rows("ALL") == {0, 2, 3}
    assert [body.get("revision") for *_, body in members.asked[1:]] == [0, 5, 5]  # all as of one revision
    assert [(read.consistency, len(read.keys)) for read in record.history().reads()] == [("QUORUM", 4), ("ALL", 3)]
    assert not any(body.get("serializable") for *_, body in members.asked)


def test_a_table_is_read_page_by_page_as_of_one_revision_and_no_other_is(etcd, members, record, monkeypatch):
    monkeypatch.setattr(client, "PAGE_ROWS", 2)
    for key in range(5):
        etcd.write(0, key)
    members.keys |= {b"rowsX/0000000009": "", b"seed/0000000001": b64encode(value_of(1)).decode()}
    members.asked.clear()
    assert etcd.read_rows("QUORUM") == set(range(5))
    assert [body["revision"] for *_, body in members.asked] == [0, 8, 8]
    assert etcd.read_seed("QUORUM") == {1}


def test_a_value_that_is_torn_in_one_copy_is_reported(etcd, members, record):
    etcd.write(0, 0)
    members.keys[b"rows/0000000001"] = b64encode(value_of(1)[:100]).decode()
    members.keys[b"rows/strange"] = ""
    assert etcd.read_rows("ALL") == {0}
    (read,) = record.history().reads()
    assert sorted(read.torn) == [client.NO_KEY, 1]


def test_a_member_that_does_not_answer_is_a_reason_to_wait(etcd, members):
    members.says["10.244.1.5"] = (503, {"error": "etcdserver: no leader"})
    assert etcd.read_rows("QUORUM") == set()
    for ask in (etcd.ping, lambda: etcd.read_rows("ALL")):
        with pytest.raises(NotYet, match="no leader"):
            ask()


@plays_kube
class Kube:
    """Three pods with addresses."""

    def list(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Pod", "etcd", "app=etcd")
        return [{"metadata": {"name": name}, "status": {"podIP": address}} for name, address in MEMBERS.items()]


def test_members_that_acknowledge_what_they_have_not_synced_are_not_taken(members, record):
    etcd = Etcd(Kube(), image=KIND.image_of(), storage_class="fast", record=record)
    etcd.rebuild.now()
    etcd._prove_durable()
    members.unsynced = {"10.244.2.5"}
    with pytest.raises(NotYet, match=r"10\.244\.2\.5 did not sync"):
        etcd._prove_durable()
    members.unsynced |= {"10.244.1.5"}
    with pytest.raises(InfrastructureError, match=r"not synced, at 10\.244\.1\.5, 10\.244\.2\.5"):
        etcd._prove_durable()
    assert record.history().operations == []


def test_members_know_each_other_by_names_that_stay(members, record):
    spec = Etcd(Kube(), image="etcd:1", storage_class="fast", record=record).spec
    stateful_set = spec.objects()[-1]["spec"]
    arguments = stateful_set["template"]["spec"]["containers"][0]["args"]
    assert "--initial-cluster=" + ",".join(f"etcd-{n}={spec.peer_url(f'etcd-{n}')}" for n in range(3)) in arguments
    assert stateful_set["podManagementPolicy"] == "Parallel"
    assert not any("unsafe" in argument for argument in arguments)


def test_its_image_is_made_of_the_control_planes():
    recipe = recipes.find(KIND.image_of())
    assert recipe is not None
    assert recipe.needs == ("registry.k8s.io/etcd:3.5.16-0",)
