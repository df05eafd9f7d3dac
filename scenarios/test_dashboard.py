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
from rookery.rook.dashboard import USER, Dashboard, DashboardPage, DashboardStatus
from rookery.waiting import minutes, wait_for
from rookery.workloads.services import Service

pytestmark = [
    pytest.mark.budget(180),
    pytest.mark.requires(
        "the images of MetalLB and of the browser (Debian's Chromium, some 400 MB)",
        "eight addresses of the nodes' network that nobody has",
    ),
]


@pytest.fixture
def dashboard(cluster) -> Dashboard:
    return Dashboard(cluster.rook)


@pytest.fixture
def published(cluster, dashboard, metallb):
    """The dashboard's Service of type LoadBalancer, beside the operator's own, with an address; removed at the end."""
    manifest = wait_for(dashboard.load_balancer, what="the dashboard's own Service", within=minutes(1))
    service = Service(cluster.kube, manifest)
    service.create()
    address = wait_for(service.address, what=f"an address for {service.name}", within=minutes(1))
    assert metallb.owns(address)
    yield service
    service.delete()


@pytest.fixture
def page(browser, dashboard, published) -> DashboardPage:
    return DashboardPage(browser, dashboard.url(published.address()))


def test_dashboard_in_a_browser(cluster, dashboard, page, results):
    """Published by a Service of its own, it shows to who is logged in what Ceph says."""
    wait_for(page.open, what="the dashboard to answer", within=minutes(2))
    wait_for(page.asks_for_login, what="the dashboard to ask for a password", within=minutes(1))
    password = wait_for(dashboard.password, what="the generated password", within=minutes(1))
    wait_for(lambda: page.log_in(USER, password), what="the form to be filled in", within=minutes(1))
    try:
        health = wait_for(cluster.rook.healthy, what="HEALTH_OK", within=minutes(2), every=1.0)
        osds = cluster.rook.spec.osds  # a disk of each worker
        wait_for(cluster.rook.osds_up, what="all OSDs up", within=minutes(1), every=1.0)
        wanted = DashboardStatus(health.status, osds, osds_up=osds)
        with results.phase("dashboard shows it"):
            shown = wait_for(page.shows(wanted), what=f"the dashboard to show {wanted}", within=minutes(2), every=1.0)
    finally:
        page.screenshot(results.path("dashboard.png"))
    results.note(dashboard=vars(shown), screenshot="dashboard.png")


def test_edit_of_the_operators_service_is_undone(dashboard, published, page, results):
    """What `kubectl edit` makes of the operator's Service does not last; a Service beside it does."""
    address = published.address()
    edited = time.time()
    taken = dashboard.edit_service("LoadBalancer")
    assert taken["spec"]["type"] == "LoadBalancer", "the API server did not take the edit: there is nothing to undo"
    with results.phase("edit undone"):
        wait_for(dashboard.service_is("ClusterIP"), what="the operator to undo the edit", within=minutes(5))
    seen = wait_for(
        dashboard.operator_saw_the_edit(since=edited), what="the operator to say so in its log", within=minutes(1)
    )
    results.note(symptoms=[seen])

    assert wait_for(published.address, what=f"an address for {published.name}", within=minutes(1)) == address
    wait_for(page.open, what="the dashboard to answer", within=minutes(2))
    wait_for(page.asks_for_login, what="the dashboard to ask for a password", within=minutes(1))
