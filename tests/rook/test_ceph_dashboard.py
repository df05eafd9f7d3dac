"""The dashboard's Services, and what its page is understood to show."""

import base64

import pytest
import yaml
from fakes import plays_rook_and_kube
from playing import plays
from rookery.browser import webdriver
from rookery.errors import UsageError
from rookery.rook.ceph_cluster import CephSpec
from rookery.rook.dashboard import LOGIN, Dashboard, DashboardPage, DashboardStatus, osds_of
from rookery.waiting import NotYet

EXAMPLE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "rook-ceph-mgr-dashboard-loadbalancer", "namespace": "rook-ceph"},
    "spec": {
        "type": "LoadBalancer",
        "selector": {"app": "rook-ceph-mgr", "mgr_role": "active"},
        "ports": [{"name": "dashboard", "port": 8443, "targetPort": 8443, "protocol": "TCP"}],
    },
}


@plays_rook_and_kube
class Rook:
    """Rook with a Kubernetes that has the operator's Service."""

    spec = CephSpec(image="ceph", disks={"worker": ["/dev/loop64"]}, mons=1, pool_size=1, namespace="storage")

    def __init__(self, manifests_dir, port="http-dashboard"):
        self.kube, self.manifests_dir = self, manifests_dir
        self.service = {"spec": {"type": "ClusterIP", "ports": [{"name": port, "port": 7000, "targetPort": 7000}]}}
        self.secret = {"data": {"password": base64.b64encode(b"s3cret").decode()}}

    def get(self, kind, name, *, namespace):
        assert namespace == "storage"
        return {"Service": self.service, "Secret": self.secret}[kind]

    def patch(self, kind, name, patch, *, namespace):
        self.service["spec"] |= patch["spec"]
        return self.service


@pytest.fixture
def rook(tmp_path):
    (tmp_path / "dashboard-loadbalancer.yaml").write_text(yaml.safe_dump(EXAMPLE), encoding="utf-8")
    return Rook(tmp_path)


def test_rooks_example_publishes_the_port_that_is_served(rook):
    made = Dashboard(rook).load_balancer.now()

    assert made["spec"]["ports"] == [{"name": "dashboard", "port": 7000, "targetPort": 7000, "protocol": "TCP"}]
    assert made["spec"]["type"] == "LoadBalancer"
    assert made["spec"]["selector"] == EXAMPLE["spec"]["selector"]
    assert made["metadata"] == {"name": "rook-ceph-mgr-dashboard-loadbalancer", "namespace": "storage"}


def test_a_version_without_the_example_is_reported(tmp_path):
    with pytest.raises(UsageError, match=r"dashboard-loadbalancer\.yaml"):
        Dashboard(Rook(tmp_path)).load_balancer.now()


@pytest.mark.parametrize(("port", "scheme"), [("http-dashboard", "http"), ("https-dashboard", "https")])
def test_where_it_is(tmp_path, port, scheme):
    assert Dashboard(Rook(tmp_path, port)).url("172.18.255.247") == f"{scheme}://172.18.255.247:7000/"


def test_password_and_service_are_waited_for(rook):
    dashboard = Dashboard(rook)
    assert dashboard.password.now() == "s3cret"
    rook.secret = rook.service = None

    with pytest.raises(NotYet, match="Secret"):
        dashboard.password.now()
    with pytest.raises(NotYet, match="enabled"):
        dashboard.load_balancer.now()


def test_an_edit_is_undone_when_the_type_is_what_it_was(rook):
    dashboard = Dashboard(rook)
    assert dashboard.edit_service("LoadBalancer")["spec"]["type"] == "LoadBalancer"
    with pytest.raises(NotYet, match="LoadBalancer"):
        dashboard.service_is("ClusterIP").now()

    rook.service["spec"]["type"] = "ClusterIP"
    dashboard.service_is("ClusterIP").now()


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ("3 OSDs\n3", (3, 3)),
        (" 1 OSD 1 ", (1, 1)),
        ("3 OSDs\n2\n1 down\n1 out", (3, 2)),
        ("3 OSDs\n2 up\n3 in\n1 down", (3, 2)),
        ("3 OSDs 0 up 3 in 3 down", (3, 0)),
    ],
)
def test_osds_of_the_inventory(row, counts):
    assert osds_of(row) == counts


@pytest.mark.parametrize("row", ["", "OSDs", "3 OSDs", "3 Pools 3", "3 OSDs none"])
def test_no_row_about_osds(row):
    with pytest.raises(NotYet, match="not a row"):
        osds_of(row)


@plays(webdriver.Browser)
class Browser:
    """Shows the first page to whoever has sent the form."""

    def __init__(self):
        self.typed, self.logged_in, self.health = {}, False, "HEALTH_OK"

    def has(self, css):
        return css == LOGIN and not self.logged_in

    def type(self, css, text):
        self.typed[css] = text

    def click(self, css):
        self.logged_in = self.typed == {"#username": "admin", "#password": "s3cret"}

    def text(self, css):
        return "3 OSDs\n3"

    def attribute(self, css, name):
        return self.health


def test_only_who_is_logged_in_is_shown_the_cluster():
    page = DashboardPage(Browser(), "http://dashboard/")
    with pytest.raises(NotYet, match="asks for"):
        page.shown()
    page.log_in("admin", "wrong").now()
    with pytest.raises(NotYet, match="asks for"):
        page.shown()

    page.log_in("admin", "s3cret").now()
    assert page.shown() == DashboardStatus("HEALTH_OK", 3, osds_up=3)


def test_a_page_that_shows_something_else_reports_what():
    browser = Browser()
    page = DashboardPage(browser, "http://dashboard/")
    browser.logged_in, browser.health = True, "HEALTH_WARN"

    with pytest.raises(NotYet, match="HEALTH_WARN"):
        page.shows(DashboardStatus("HEALTH_OK", 3, 3)).now()
