"""The dashboard, opened from outside in a browser.

In 2018 the operator of docs/incident.md#the-dashboard edited the dashboard's Service to be of type LoadBalancer. Today
Rook's operator reverts such an edit, and Rook ships an example of a second Service, which is the way that lasts.

Steps:

1. A Service of its own publishes the dashboard through MetalLB. A headless Chromium, in a container on the nodes'
   network and in no cluster, opens it.
2. The operator's own Service is edited to be of type LoadBalancer, which the API server takes.

Proof:

1. The browser is asked for user and password, gets in with the password that Rook generated, and shows what Ceph's own
   command line says: HEALTH_OK, and every OSD up. A screenshot is in the results.
2. The operator's log says that it has seen the edit, and the Service is of type ClusterIP again. The second Service is
   unchanged, and a browser is still asked for its password there.
"""

import time

import pytest
from rookery import Service, ceph, minutes

pytestmark = [
    pytest.mark.budget(180),
    pytest.mark.requires(
        "the images of MetalLB and of the browser (Debian's Chromium, some 400 MB)",
        "eight addresses of the nodes' network that nobody has",
        storage="rook",
    ),
]


@pytest.fixture
def dashboard(cluster) -> ceph.Dashboard:
    return ceph.Dashboard(cluster.rook)


@pytest.fixture
def published(cluster, dashboard, metallb):
    """The dashboard's Service of type LoadBalancer, beside the operator's own, with an address; removed at the end."""
    manifest = dashboard.load_balancer.wait()
    service = Service(cluster.kube, manifest)
    service.create()
    address = service.address.wait(within=minutes(1))
    assert metallb.owns(address)
    yield service
    service.delete()


@pytest.fixture
def page(cluster_browser, dashboard, published) -> ceph.DashboardPage:
    return ceph.DashboardPage(cluster_browser, dashboard.url(published.address.now()))


def test_dashboard_in_a_browser(cluster, dashboard, page):
    """Published by a Service of its own, it shows to who is logged in what Ceph says."""
    page.open.wait()
    page.asks_for_login.wait()
    password = dashboard.password.wait()
    page.log_in(ceph.USER, password).wait()
    try:
        health = cluster.rook.healthy.wait(within=minutes(2))
        osds = cluster.rook.spec.osds  # a disk of each worker
        cluster.rook.osds_up.wait(within=minutes(1))
        wanted = ceph.DashboardStatus(health.status, osds, osds_up=osds)
        with cluster.results.phase("dashboard shows it"):
            shown = page.shows(wanted).wait()
    finally:
        page.screenshot(cluster.results.path("dashboard.png"))
    cluster.results.note(dashboard=vars(shown), screenshot="dashboard.png")


def test_edit_of_the_operators_service_is_undone(cluster, dashboard, published, page):
    """What `kubectl edit` makes of the operator's Service does not last; a Service beside it does."""
    address = published.address.now()
    edited = time.time()
    taken = dashboard.edit_service("LoadBalancer")
    assert taken["spec"]["type"] == "LoadBalancer", "the API server did not take the edit: there is nothing to undo"
    with cluster.results.phase("edit undone"):
        dashboard.service_is("ClusterIP").wait()
    dashboard.operator_saw_an_edit.since(edited).wait(within=minutes(1))

    assert published.address.wait(within=minutes(1)) == address
    page.open.wait()
    page.asks_for_login.wait()
