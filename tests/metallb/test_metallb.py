"""MetalLB's manifests, and the addresses it may have."""

from ipaddress import IPv4Address

import pytest
import yaml
from fakes import plays_kube
from rookery.cluster.addresses import free_at_the_end
from rookery.errors import InfrastructureError
from rookery.images import recipes
from rookery.metallb import IMAGES, manifests
from rookery.metallb.deploy import MetalLB

OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}},
    {"apiVersion": "v1", "kind": "CustomResourceDefinition", "metadata": {"name": "ipaddresspools.metallb.io"}},
    {
        "apiVersion": "v1",
        "kind": "Deployment",
        "metadata": {"name": "controller"},
        "spec": {"template": {"spec": {"containers": []}}},
    },
    {
        "apiVersion": "v1",
        "kind": "DaemonSet",
        "metadata": {"name": "speaker"},
        "spec": {"template": {"spec": {"containers": [], "tolerations": [{"operator": "Exists"}]}}},
    },
]


def network(*subnets, holders=()):
    containers = {str(number): {"Name": "node", "IPv4Address": each} for number, each in enumerate(holders)}
    config = [{"Subnet": subnet} for subnet in subnets]
    return {"Name": "cluster", "IPAM": {"Config": config}, "Containers": containers}


def test_addresses_are_the_last_of_the_nodes_network():
    kind = network("fc00:f853:ccd:e793::/64", "172.18.0.0/16", holders=["172.18.0.2/16", ""])

    assert free_at_the_end(kind, 8) == (IPv4Address("172.18.255.247"), IPv4Address("172.18.255.254"))


@pytest.mark.parametrize(
    "kind",
    [
        network("fc00:f853:ccd:e793::/64"),
        network("172.18.0.0/28"),
        network("172.18.0.0/16", holders=["172.18.255.250/16"]),
    ],
    ids=["IPv6 only", "too small", "somebody has one"],
)
def test_no_free_addresses(kind):
    with pytest.raises(InfrastructureError, match="addresses"):
        free_at_the_end(kind, 8)


def test_speakers_run_where_their_image_is():
    changed = manifests.on_workers(OBJECTS)

    (speaker,) = (each for each in changed if each["kind"] == "DaemonSet")
    assert "tolerations" not in speaker["spec"]["template"]["spec"]
    assert "tolerations" in OBJECTS[-1]["spec"]["template"]["spec"], "the original is left as it was"


def test_manifests_come_from_the_module_once(monkeypatch):
    asked = []

    def fetch(path, version, folder):
        asked.append((path, version))
        target = folder / "config" / "manifests"
        target.mkdir(parents=True)
        (target / "metallb-native.yaml").write_text(yaml.safe_dump_all(OBJECTS), encoding="utf-8")

    monkeypatch.setattr("shutil.which", lambda _: None)

    assert manifests.manifests_for("0.15.2", fetch) == OBJECTS
    assert manifests.manifests_for("0.15.2", fetch) == OBJECTS
    assert asked == [("go.universe.tf/metallb", "v0.15.2")]


def test_the_pool_is_announced():
    pool, advertisement = manifests.address_pool(IPv4Address("172.18.255.200"), IPv4Address("172.18.255.207"))

    assert pool["spec"] == {"addresses": ["172.18.255.200-172.18.255.207"]}
    assert advertisement["spec"]["ipAddressPools"] == [pool["metadata"]["name"]]


@plays_kube
class Kube:
    """Everything is Ready once it is applied."""

    def __init__(self):
        self.applied = []

    def apply(self, objects):
        self.applied += [(each["kind"], each["metadata"]["name"]) for each in objects]

    def delete(self, kind, name, *, namespace=None, api_version=None):
        self.applied.remove((kind, name))
        if kind != "Namespace":  # whose content goes with it
            assert ("Namespace", "metallb-system") in self.applied

    def get(self, kind, name, *, namespace=None, api_version=None):
        if (kind, name) not in self.applied:
            return None
        status = {
            "updatedReplicas": 1,
            "availableReplicas": 1,
            "conditions": [{"type": "Established", "status": "True"}],
        }
        status |= {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
        return {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": 1}, "status": status}


def test_addresses_are_given_when_the_controller_can_check_them(monkeypatch):
    monkeypatch.setattr(manifests, "manifests_for", lambda version, fetch: OBJECTS)
    kube, first = Kube(), IPv4Address("172.18.255.200")
    MetalLB(kube, version="0.15.2", first=first, last=first, fetch=None).deploy()

    kinds = [kind for kind, _ in kube.applied]
    assert kinds[-2:] == ["IPAddressPool", "L2Advertisement"]
    assert kinds.index("DaemonSet") < kinds.index("IPAddressPool")


def test_all_of_it_is_removed_what_it_checks_first(monkeypatch):
    monkeypatch.setattr(manifests, "manifests_for", lambda version, fetch: OBJECTS)
    kube, first = Kube(), IPv4Address("172.18.255.200")
    metallb = MetalLB(kube, version="0.15.2", first=first, last=first, fetch=None)
    metallb.deploy()
    metallb.remove()
    assert kube.applied == []


def test_its_images_can_be_built():
    assert all(recipes.find(image) for image in IMAGES)
