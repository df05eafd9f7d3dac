"""A namespace is deleted while a pod in it is at work: what protects the pod goes before the pod.

The report is CVE-2024-7598. Before 1.33 a namespace's objects are deleted in no order: a network policy goes at once,
and the pod that it protects has its grace period, in which it writes to its volume and anybody may reach it.

Steps: a pod with a volume takes half a minute to end; a network policy has nobody reach it; their namespace is deleted.

Symptom: the namespace counts claims beside pods among what remains. The policy is gone, and the pod Running.

Workaround: a namespace's pods are deleted before it is.

Proof: a pod that is deleted by itself is gone before its policy. A pod that goes with its namespace writes to its
volume when the policy is gone.
"""

import pytest
from rookery import NotYet, condition, signatures

pytestmark = pytest.mark.budget(120)

ENDS_AFTER_S = 30


def slow_pod_that_nobody_reaches(cluster, volumes):
    """A pod that has a volume, takes long to end, and is protected by a network policy."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "nobody", "namespace": volumes.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    cluster.kube.apply([policy])
    return volumes.pod("slow", volumes.apply_claim("data"), ends_after_s=ENDS_AFTER_S)


def policy_of(cluster, volumes):
    return cluster.kube.get("NetworkPolicy", "nobody", namespace=volumes.namespace)


@condition("the network policy gone", within=ENDS_AFTER_S / 2, every=0.5)
def policy_gone(cluster, volumes):
    """It goes at once, or after the pod: there is nothing in between."""
    if policy_of(cluster, volumes):
        raise NotYet("it is there")


@pytest.mark.bug("https://github.com/kubernetes/kubernetes/issues/126587", symptom=signatures.CLAIMS_DELETED_WITH_PODS)
def test_network_policy_goes_before_its_pod(cluster, cluster_volumes):
    """For half a minute nothing keeps anybody from a pod that is at work."""
    pod = slow_pod_that_nobody_reaches(cluster, cluster_volumes)
    cluster.kube.delete("Pod", pod.name, namespace=pod.namespace)  # workaround
    pod.gone.wait()
    assert policy_of(cluster, cluster_volumes)

    pod = slow_pod_that_nobody_reaches(cluster, cluster_volumes)
    cluster.kube.delete("Namespace", pod.namespace)  # cause
    policy_gone(cluster, cluster_volumes).wait()
    remaining = cluster.named("Namespace", pod.namespace).status(signatures.CLAIMS_DELETED_WITH_PODS)
    remaining.wait(within=ENDS_AFTER_S / 2)
    pod.write("late", mebibytes=1)
    assert pod.existing()["status"]["phase"] == "Running"
