"""Signatures, and the conditions that look for them in events and logs."""

import pytest
from fakes import plays_kube
from rookery import signatures
from rookery.kube import ApiUnavailable, KubeError, symptoms
from rookery.kube.symptoms import event_shown, last_seen, log_shown
from rookery.signatures import ShownBy, Signature
from rookery.waiting import NotYet

ALL = [each for each in vars(signatures).values() if isinstance(each, Signature)]

SAID_BY_CEPH_VOLUME = 'cephosd: skipping device "loop5": ["Has a FileSystem", "locked"].'

SAID = [
    (
        signatures.DRIVER_NOT_REGISTERED,
        'MountVolume.MountDevice failed for volume "pvc-5d317451" : kubernetes.io/csi: attacher.MountDevice failed to '
        "create newCsiDriverClient: driver name rook-ceph.rbd.csi.ceph.com not found in the list of registered CSI "
        "drivers",
    ),
    (
        signatures.DRIVER_NOT_ON_NODE,
        'AttachVolume.Attach failed for volume "pvc-8609b23a" : CSINode rookery-worker2 does not contain driver '
        "rbd.userspace.csi.rookery.io",
    ),
    (
        signatures.POOL_NOT_FOUND,
        'failed to provision volume with StorageClass "block": rpc error: code = Internal desc = pool not found: pool '
        "(replicapool) not found in Ceph cluster",
    ),
    (
        signatures.FILESYSTEM_NOT_FOUND,
        'failed to provision volume with StorageClass "rook-cephfs": rpc error: code = Internal desc = filesystem not '
        "found: filesystem (myfs) not found in Ceph cluster",
    ),
    (
        signatures.POOL_HAS_BOTH_LAYOUTS,
        'failed to reconcile CephBlockPool "rook-ceph/both". invalid pool CR "both" spec: invalid pool spec: both '
        "erasurecoded and replicated fields cannot be set at the same time",
    ),
    (
        signatures.IMAGE_IN_USE,
        'MountVolume.MountDevice failed for volume "pvc-5d317451" : rpc error: code = Internal desc = rbd image '
        "replicapool/csi-vol-1c4d is still being used",
    ),
    (
        signatures.ATTACHED_ELSEWHERE,
        'Multi-Attach error for volume "pvc-5d317451" Volume is already used by pod(s) first',
    ),
    (
        signatures.ATTACHED_ELSEWHERE,
        'Multi-Attach error for volume "pvc-5d317451" Volume is already exclusively attached to one node and can\'t be '
        "attached to another",
    ),
    (
        signatures.USED_BY_ANOTHER_POD,
        "0/4 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
        "access mode. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.",
    ),
    (signatures.DISK_HAS_FILESYSTEM, 'cephosd: skipping device "loop5" because it contains a filesystem "ext4"'),
    (signatures.DISK_HAS_FILESYSTEM, SAID_BY_CEPH_VOLUME),
    (signatures.DISK_HAS_PARTITIONS, 'cephosd: skipping device "loop6": ["Has GPT headers"].'),
    (
        signatures.READY_NOT_WRITTEN,
        "ceph-spec: failed to update cluster condition to {Type:Ready Status:True Reason:ClusterCreated Message:"
        "Cluster created successfully LastHeartbeatTime:2026-11-30 20:07:18.959529152 +0000 UTC m=+447.473411176 "
        'LastTransitionTime:2026-11-30 16:37:10 +0000 UTC}. failed to update object "rook-ceph/rook-ceph" status: '
        'Operation cannot be fulfilled on cephclusters.ceph.rook.io "rook-ceph": the object has been modified; please '
        "apply your changes to the latest version and try again",
    ),
    (
        signatures.CLAIMS_DELETED_WITH_PODS,
        "Some resources are remaining: persistentvolumeclaims. has 1 resource instances, "
        "pods. has 1 resource instances",
    ),
    (
        signatures.SERVICE_RECONCILED,
        'ceph-spec: controller will reconcile resource "rook-ceph-mgr-dashboard" based on patch: '
        '{"spec":{"type":"LoadBalancer"}}',
    ),
    (
        signatures.MDS_LAGGY,
        "debug 2026-11-24T10:27:42.633+0000 7f8ef7a936c0  1 mds.beacon.myfs-a MDS connection to Monitors appears to be "
        "laggy; 15.9s since last acked beacon",
    ),
    (
        signatures.MDS_LAGGY,
        "mds.beacon.myfs-a Skipping beacon heartbeat to monitors (last acked 4.00013s ago); MDS internal heartbeat is "
        "not healthy!",
    ),
    (
        signatures.LOG_REPLAYED,
        "2026-11-24 10:00:01.011 UTC [27] LOG:  database system was not properly shut down; automatic recovery in "
        "progress",
    ),
    (signatures.NO_SUCH_NAME, '{"code": "NXDOMAIN", "addresses": []}'),
    (signatures.READ_ONLY_FILESYSTEM, "touch: cannot touch '/volume/forbidden': Read-only file system"),
    (signatures.QUOTA_EXCEEDED, "head: error writing 'standard output': Disk quota exceeded"),
    (
        signatures.DEAD_CLIENT_FENCED,
        "csi-vol-1c4d: this node's dead client Client(id=4123, address='172.18.0.4:0/3212345') is fenced",
    ),
    (
        signatures.CLIENT_EVICTED,
        "log_channel(cluster) log [WRN] : evicting unresponsive client rookery-worker (4123), after 303.489228 seconds",
    ),
    # Rook 1.18.8, Ceph 18.2.7, Kubernetes 1.32.0, 2026-11-29
    (
        signatures.CLUSTER_ID_UNKNOWN,
        "Volume provisioning failed with infeasible error. Retries will be delayed. rpc error: code = InvalidArgument "
        "desc = missing configuration for cluster ID (another-cluster)",
    ),
    (
        signatures.CLASS_IS_IMMUTABLE,
        'PATCH /apis/storage.k8s.io/v1/storageclasses/upgraded: 422 StorageClass.storage.k8s.io "upgraded" is invalid: '
        "parameters: Forbidden: updates to parameters are forbidden.",
    ),
    (
        signatures.BOUND_TO_ANOTHER_CLAIM,
        'volume "pvc-f26f62f7-3620-4f00-b16c-80a2bd6dd465" already bound to a different claim.',
    ),
    (
        signatures.IMAGE_HAS_SNAPSHOTS,
        "rpc error: code = FailedPrecondition desc = rbd image replicapool/csi-vol-5a36e996 has snapshots that this "
        "driver has not made: remove image csi-vol-5a36e996: [errno 39] RBD image has snapshots (error removing image)",
    ),
    (
        signatures.SNAPSHOT_CLASS_NOT_FOUND,
        'Failed to get snapshot class with error volumesnapshotclass.snapshot.storage.k8s.io "absent" not found',
    ),
    (signatures.CLAIM_IS_SNAPSHOTS_SOURCE, "snapshot.storage.kubernetes.io/pvc-as-source-protection"),
    (signatures.SNAPSHOT_IS_CLAIMS_SOURCE, "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection"),
    (signatures.VOLUME_IS_IN_USE, "kubernetes.io/pv-protection"),
    (
        signatures.POOL_HAS_IMAGES,
        '2026-11-29 11:24:09.498218 I | ceph-block-pool-controller: pool "in-use" contains images or snapshots and '
        "cannot be deleted",
    ),
    (
        signatures.CLUSTER_HAS_DEPENDENTS,
        'CephCluster "rook-ceph/rook-ceph" will not be deleted until all dependents are removed: CephBlockPool: '
        "[replicapool]",
    ),
    (
        signatures.MON_NOT_OK_TO_STOP,
        "ceph mon ok-to-stop b: Error EBUSY: not enough monitors would be available (c) after stopping mons [b]",
    ),
    (
        signatures.DATABASE_VOLUME_FULL,
        '2026-11-29 18:12:08.746 UTC [1] FATAL:  could not create lock file "postmaster.pid": No space left on device',
    ),
    (
        signatures.CLIENT_SHUT_DOWN,
        "touch: cannot touch '/volume/forbidden': Cannot send after transport endpoint shutdown",
    ),
    (signatures.LOCK_IS_HELD, "flock: failed to get lock"),
    (
        signatures.KUBELET_CERTIFICATE_EXPIRED,
        'E1129 18:13:37.583160     177 bootstrap.go:266] "Unhandled Error" err="part of the existing bootstrap client '
        'certificate in /etc/kubernetes/kubelet.conf is expired: 2026-11-29 18:13:24 +0000 UTC" '
        'logger="UnhandledError"',
    ),
    (
        signatures.TOKEN_TAKEN_OVER,
        "INFO  [GossipStage:1] 2026-11-29 18:20:37,132 StorageService.java:3212 - Nodes /10.244.1.8:7000 and "
        "/10.244.1.6:7000 have the same token 2000000000000000000. /10.244.1.8:7000 is the new owner",
    ),
    (
        signatures.STREAM_SOURCE_DOWN,
        "java.lang.IllegalStateException: Necessary replicas for strict consistency were removed by source filters: "
        "Filtered Full(/10.244.3.7:7000,(-8625116113223114838,-8256772921596339519]) out because it was down",
    ),
    (
        signatures.ADDRESS_IS_ANOTHERS,
        "Exception (java.lang.RuntimeException) encountered during startup: A node with address /10.244.3.8:7000 "
        "already exists, cancelling join. Use cassandra.replace_address if you want to replace this node.",
    ),
    (
        signatures.COMMIT_LOG_REFUSED,
        "ERROR [main] 2026-11-29 19:17:49,710 JVMStabilityInspector.java:201 - Exiting due to error while processing "
        "commit log during initialization.",
    ),
    (signatures.POOL_IS_FULL, "1 pool(s) full"),
    (signatures.OSD_IS_FULL, "2 full osd(s)"),
    (
        signatures.ELECTION_CALLED,
        "debug 2026-11-29T11:20:42.694+0000 7fa544e706c0  0 log_channel(cluster) log [INF] : mon.a calling monitor "
        "election",
    ),
    (
        signatures.OSD_KEY_IS_LEFT,
        "[2026-11-29 17:54:07,497][ceph_volume.process][INFO  ] stderr Error EEXIST: entity osd.1 exists but key does "
        "not match",
    ),
    (
        signatures.RBD_SUPPORT_IS_FENCED,
        "debug 2026-11-29T18:07:58.490+0000 7f36357c66c0  0 [rbd_support ERROR root] MirrorSnapshotScheduleHandler: "
        "client blocklisted",
    ),
    (
        signatures.VOLUMES_MODULE_IS_FENCED,
        "rpc error: code = Unavailable desc = fs subvolume info: error in stat: /volumes/csi (108) Cannot send after "
        "transport endpoint shutdown",
    ),
    (
        signatures.IMAGE_IS_GONE,
        'AttachVolume.Attach failed for volume "pvc-9ae5fb45" : rpc error: code = NotFound desc = image '
        "csi-vol-9ae5fb45: [errno 2] RBD image not found (error opening image b'csi-vol-9ae5fb45' at snapshot None)",
    ),
    # 2026-11-30
    (
        signatures.OSDS_DO_NOT_ANSWER,
        "rpc error: code = Unavailable desc = create image csi-vol-90f53f67-2ca7-4756-839a-946df8e4253f: [errno 110] "
        "RBD operation timeout (error creating image)",
    ),
    (
        signatures.CLUSTER_SECRET_NOT_FOUND,
        '2026-11-30 08:55:37.385457 E | ceph-block-pool-controller: failed to reconcile CephBlockPool "rook-ceph/'
        'replicapool". failed to populate cluster info: not expected to create new cluster info and did not find '
        "existing secret",
    ),
    (
        signatures.QUORUM_UNKNOWN,
        "2026-11-30 11:47:37.568847 W | op-mon: failed to check mon health. failed to get mon quorum status: mon "
        "quorum status failed: exit status 1",
    ),
    (
        signatures.DISK_IS_ANOTHER_CLUSTERS,
        '2026-11-30 08:52:41.594349 I | cephosd: skipping osd.0: "85e99a57-c4a6-4706-8ea3-605fda4626f6" belonging to a '
        'different ceph cluster "7b08d9f2-2f81-4fb3-8822-4dc67144f20e"',
    ),
    (signatures.PG_IS_INCONSISTENT, "Possible data damage: 1 pg inconsistent"),
    (signatures.UNKNOWN_FIELD_DIRECTORIES, 'strict decoding error: unknown field "spec.storage.directories"'),
    (
        signatures.SEED_LOOKUP_FAILED,
        "WARN  [main] 2026-11-24 SimpleSeedProvider.java:67 - Seed provider couldn't lookup host cassandra-0.cassandra",
    ),
]


@pytest.mark.parametrize(("signature", "said"), SAID, ids=lambda it: it.text if isinstance(it, Signature) else "")
def test_what_is_really_logged_is_recognised(signature, said):
    assert signature.line_in(f"before\n  {said}  \nafter") == said


@pytest.mark.parametrize("signature", ALL, ids=lambda it: it.text)
def test_no_signature_is_taken_for_another(signature):
    mistaken = {said for other, said in SAID if other is not signature and signature.line_in(said)}

    assert not mistaken


@pytest.mark.parametrize("signature", ALL, ids=lambda it: it.text)
def test_each_signature_reports_where_it_is_explained(signature):
    assert signature.source.startswith("https://")
    assert signature.of


def test_a_signature_without_a_reason_takes_any_event():
    signature = Signature(POOL_GONE, ShownBy.EVENT, "the claim", "https://example.org")

    assert event_shown(Kube([event(POOL_GONE, reason="Any")]), "files", signature, of="writer").now() == POOL_GONE


def test_what_is_reported_of_one_disk_is_not_reported_of_another():
    signature = signatures.DISK_HAS_FILESYSTEM.about("loop5")

    for said in ('skipping device "loop5" because it contains a filesystem "ext4"', SAID_BY_CEPH_VOLUME):
        assert signature.line_in(said)
        assert not signature.line_in(said.replace("loop5", "loop57"))


def test_what_differs_stays_within_a_line():
    signature = Signature("driver … not found", ShownBy.EVENT, "the pod", "https://example.org")

    assert signature.line_in("driver a\nnot found") is None


@plays_kube
class Kube:
    """Has events and logs; a log that is an exception is raised."""

    def __init__(self, events=(), logs=None):
        self._events, self._logs = list(events), logs or {}

    def events(self, namespace, *, name="", kind=""):
        if namespace != "files":
            raise ApiUnavailable("no answer")
        return [event for event in self._events if event["of"] == name]

    def list(self, kind, *, namespace, labels):
        return [{"metadata": {"name": name, "namespace": namespace}} for name in sorted({n for n, _ in self._logs})]

    def logs(self, pod, *, namespace, container, previous, since, tail_lines):
        found = self._logs.get((pod, previous), KubeError("no such run", status=400))
        if isinstance(found, Exception):
            raise found
        return found


def event(message, at="2026-11-24T10:00:00Z", of="writer", reason="ProvisioningFailed"):
    return {"of": of, "reason": reason, "message": message, "lastTimestamp": at}


POOL_GONE = next(said for signature, said in SAID if signature is signatures.POOL_NOT_FOUND)


def test_an_event_shows_it():
    kube = Kube([event("Scheduled"), event(POOL_GONE)])

    assert event_shown(kube, "files", signatures.POOL_NOT_FOUND, of="writer").now() == POOL_GONE


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event("Scheduled")],
        [event(POOL_GONE, at="2026-11-24T09:59:59Z")],
        [event(POOL_GONE, of="another")],
        [event(POOL_GONE, reason="VolumeResizeFailed")],
    ],
    ids=["none", "another text", "from before", "of another object", "for another reason"],
)
def test_an_event_does_not_show_it(events):
    since = last_seen(event(""))

    with pytest.raises(NotYet, match="pool not found"):
        event_shown(Kube(events), "files", signatures.POOL_NOT_FOUND, of="writer", since=since).now()


def test_the_last_event_is_the_reason():
    kube = Kube([event("second", at="2026-11-24T10:00:02Z"), event("first")])

    with pytest.raises(NotYet, match="second"):
        event_shown(kube, "files", signatures.POOL_NOT_FOUND, of="writer").now()


def test_an_api_that_does_not_answer_is_a_reason_to_wait():
    with pytest.raises(NotYet, match="API"):
        event_shown(Kube(), "elsewhere", signatures.POOL_NOT_FOUND, of="writer").now()


@pytest.mark.parametrize("previous", [False, True])
def test_a_log_shows_it_of_this_run_or_the_one_before(previous):
    kube = Kube(logs={("cassandra-1", previous): SAID[-1][1], ("cassandra-0", False): "Startup complete"})

    shown = log_shown(kube, "cassandra", signatures.SEED_LOOKUP_FAILED, labels="app=cassandra").now()

    assert shown.startswith("cassandra-1: ")
    assert "lookup host" in shown


def test_no_log_shows_it():
    kube = Kube(logs={("cassandra-0", False): "Startup complete"})

    with pytest.raises(NotYet, match="cassandra-0"):
        log_shown(kube, "cassandra", signatures.SEED_LOOKUP_FAILED, labels="app=cassandra").now()


def test_a_log_that_may_not_be_read_is_a_fault():
    kube = Kube(logs={("cassandra-0", False): KubeError("forbidden", status=403)})

    with pytest.raises(KubeError, match="forbidden"):
        log_shown(kube, "cassandra", signatures.SEED_LOOKUP_FAILED, labels="app=cassandra").now()


@pytest.mark.parametrize(
    "seen",
    [
        {"series": {"lastObservedTime": "2026-11-24T10:00:00Z"}, "eventTime": "2026-11-24T09:00:00Z"},
        {"lastTimestamp": "2026-11-24T10:00:00Z", "firstTimestamp": "2026-11-24T09:00:00Z"},
        {"series": None, "lastTimestamp": None, "eventTime": "2026-11-24T10:00:00Z"},
    ],
    ids=["a series", "counted", "single"],
)
def test_when_an_event_was_seen_last(seen):
    assert last_seen(seen) == last_seen(event(""))


def test_whoever_listens_gets_the_line_that_showed_it_and_only_then():
    told = []
    kube = Kube([event(POOL_GONE)], logs={("cassandra-0", False): "x\nSeed provider couldn't lookup host a\n"})
    shown = event_shown(kube, "files", signatures.POOL_NOT_FOUND, of="writer")
    with symptoms.sightings.subscribe(lambda signature, line: told.append((signature, line))):
        with pytest.raises(NotYet):
            event_shown(kube, "files", signatures.IMAGE_IN_USE, of="writer").now()
        assert told == []
        line = shown.now()
        logged = log_shown(kube, "cassandra", signatures.SEED_LOOKUP_FAILED, labels="app=cassandra").now()
    shown.now()
    assert told == [(signatures.POOL_NOT_FOUND, line), (signatures.SEED_LOOKUP_FAILED, logged)]
