"""The objects that Cassandra is deployed as."""

import re
from dataclasses import replace

import pytest
from rookery.errors import UsageError
from rookery.workloads.cassandra.manifests import CassandraSpec


def container(spec):
    (stateful_set,) = (each for each in spec.objects() if each["kind"] == "StatefulSet")
    (container,) = stateful_set["spec"]["template"]["spec"]["containers"]
    return container


def environment(spec):
    return {each["name"]: each.get("value") for each in container(spec)["env"]}


def jvm_flags(spec):
    return environment(spec)["JVM_EXTRA_OPTS"].split()


def test_batch_takes_the_period_away_too():
    """Cassandra refuses to start in batch mode while cassandra.yaml sets a period, as the images' does."""
    flags = jvm_flags(CassandraSpec("cassandra:5.0.6", storage_class="rook-ceph-block", commitlog_sync="batch"))

    assert "-Dcassandra.settings.commitlog_sync=batch" in flags
    assert "-Dcassandra.settings.commitlog_sync_period=0ms" in flags
    assert not any(
        "cassandra.settings" in flag
        for flag in jvm_flags(CassandraSpec("cassandra:5.0.6", storage_class="rook-ceph-block"))
    )


def test_the_names_fit_together():
    spec = CassandraSpec("cassandra:5.0.6", namespace="c2", replicas=2, storage_class="fast")
    namespace, service, settings, stateful_set = spec.objects()
    pod_template = stateful_set["spec"]["template"]
    (claim,) = stateful_set["spec"]["volumeClaimTemplates"]

    assert namespace["metadata"]["name"] == service["metadata"]["namespace"] == "c2"
    assert service["metadata"]["name"] == stateful_set["spec"]["serviceName"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == stateful_set["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"].items() <= pod_template["metadata"]["labels"].items()
    assert container(spec)["volumeMounts"][0]["name"] == claim["metadata"]["name"]
    (mounted,) = pod_template["spec"]["volumes"]
    assert mounted["configMap"]["name"] == settings["metadata"]["name"]
    assert container(spec)["volumeMounts"][1]["name"] == mounted["name"]
    place = container(spec)["volumeMounts"][1]["mountPath"]
    assert [f"-Djava.security.properties={place}/{name}" in spec.jvm_flags for name in settings["data"]] == [True]
    assert claim["spec"]["storageClassName"] == "fast"
    assert spec.claims == ["cassandra-data-cassandra-0", "cassandra-data-cassandra-1"]
    assert spec.seeds == [f"cassandra-{n}.cassandra.c2.svc.cluster.local" for n in range(2)]
    assert replace(spec, one_by_one=True).seeds == spec.seeds[:1]


def test_replicas_that_start_together_have_a_token_each_and_wait_for_nobody():
    spec = CassandraSpec("cassandra:5.0.6", storage_class="rook-ceph-block")
    variables = environment(spec)
    assert spec.objects()[-1]["spec"]["podManagementPolicy"] == "Parallel"
    assert next(iter(variables)) == "ORDINAL"  # what uses it has to come after it
    (token,) = re.findall(r"initial_token=(\S+)", variables["JVM_EXTRA_OPTS"])
    tokens = {int(token.replace("$(ORDINAL)", str(ordinal))) for ordinal in range(9)}
    assert len(tokens) == 9
    assert all(-(2**63) <= token < 2**63 for token in tokens)
    assert "-Dcassandra.auto_bootstrap=false" in variables["JVM_EXTRA_OPTS"]
    assert variables["CASSANDRA_NUM_TOKENS"] == "1"
    assert variables["CASSANDRA_SEEDS"].split(",") == spec.seeds
    with pytest.raises(UsageError, match="10 replicas"):
        replace(spec, replicas=10)


def test_replicas_that_come_one_by_one_are_as_an_operator_deploys_them():
    spec = CassandraSpec("cassandra:5.0.6", storage_class="rook-ceph-block", one_by_one=True)
    variables = environment(spec)
    assert spec.objects()[-1]["spec"]["podManagementPolicy"] == "OrderedReady"
    assert variables["CASSANDRA_SEEDS"] == "cassandra-0.cassandra.cassandra.svc.cluster.local"
    assert "ORDINAL" not in variables
    assert "CASSANDRA_NUM_TOKENS" not in variables
    assert "token" not in variables["JVM_EXTRA_OPTS"]
    assert "auto_bootstrap" not in variables["JVM_EXTRA_OPTS"]
    assert [each["kind"] for each in spec.objects()] == ["Namespace", "Service", "StatefulSet"]
    assert [each["mountPath"] for each in container(spec)["volumeMounts"]] == ["/var/lib/cassandra"]


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("sync", ["batch", "periodic"])
def test_nothing_makes_a_promise_weaker(one_by_one, sync):
    """Flags that exist, and that no figure is worth."""
    flags = CassandraSpec(
        "cassandra:5.0.6", storage_class="rook-ceph-block", commitlog_sync=sync, one_by_one=one_by_one
    ).jvm_flags
    assert "skip_sync" not in flags
    assert "durable_writes" not in flags
    assert "unsafe" not in flags
