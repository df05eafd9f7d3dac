"""The Secret of the mons is taken away in spite of its finalizer, and written again of what else there is."""

import base64
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.errors import UsageError
from rookery.rook.mon_secret import MonSecret

KEYRING = """
[mon.]
\tkey = AQmon==
\tcaps mon = "allow *"

[client.admin]
\tkey = AQadmin==
\tcaps mds = "allow *"
"""


@plays_kube
class Api:
    """The API with the Secret and what it can be made of; nothing goes as long as it has a finalizer."""

    def __init__(self, keyring=KEYRING, fsid="f51d"):
        self.secret = {"metadata": {"name": "rook-ceph-mon", "finalizers": ["ceph.rook.io/disaster-protection"]}}
        data = {"keyring": base64.b64encode(keyring.encode()).decode()}
        self.rest = {
            "rook-ceph-mons-keyring": {"data": data} if keyring else None,
            "rook-ceph": {"metadata": {"uid": "c1"}, "status": {"ceph": {"fsid": fsid} if fsid else {}}},
        }

    def get(self, kind, name, *, namespace):
        return self.rest[name]

    def patch(self, kind, name, patch, *, namespace):
        assert (kind, name, namespace) == ("Secret", "rook-ceph-mon", "rook-ceph")
        self.secret["metadata"] |= patch["metadata"]

    def delete(self, kind, name, *, namespace):
        if not self.secret["metadata"]["finalizers"]:
            self.secret = None

    def apply(self, objects):
        (self.secret,) = objects


def secret_of(api):
    return MonSecret(SimpleNamespace(kube=api, spec=SimpleNamespace(name="rook-ceph", namespace="rook-ceph")))


def test_it_goes_though_it_is_protected():
    api = Api()
    secret_of(api).delete()
    assert api.secret is None


def test_it_is_written_again_by_the_keyrings_and_the_status():
    api = Api()
    secret_of(api).write_again()
    assert api.secret["stringData"] == {
        "fsid": "f51d",
        "mon-secret": "AQmon==",
        "ceph-username": "client.admin",
        "ceph-secret": "AQadmin==",
    }
    assert api.secret["metadata"]["finalizers"] == ["ceph.rook.io/disaster-protection"]
    assert [owner["uid"] for owner in api.secret["metadata"]["ownerReferences"]] == ["c1"]


@pytest.mark.parametrize(
    ("api", "said"),
    [
        (Api(fsid=""), "the fsid is None, and there are keys of client.admin, mon."),
        (Api(keyring=""), "keys of nobody"),
        (Api(keyring=KEYRING.partition("[client")[0]), "keys of mon\\."),
    ],
    ids=["no fsid", "no keyring", "no admin"],
)
def test_it_is_not_made_of_half_of_it(api, said):
    with pytest.raises(UsageError, match=said):
        secret_of(api).write_again()
    assert "stringData" not in api.secret
