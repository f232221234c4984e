"""Situations that are made, not recorded: what each is, and which verdict it must get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.launcher.why.made_kinds import other_kinds
from tests.launcher.why.situations import (
    IMAGE,
    Item,
    claim,
    clock,
    ended,
    event,
    job,
    line,
    node,
    placed,
    pod,
    progress,
    quota,
    rank,
    runs,
    snapshot,
    steps,
    storage_class,
    template,
    waits,
    workload,
)

Situation = tuple[str, str, str, Item]
"""Name, what it is, the code, the snapshot."""

GPU = {"gpu": "a100"}
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."

GANG = "0/2 nodes are available: {}. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling., PodGroup team-a/flowers gets rejected due to Pod flowers-worker-1 is unschedulable even after PostFilter"


def unscheduled(*indexes: int, message: str = NO_GPU, **more: Any) -> list[Item]:
    return [pod(index, unscheduled=message, **more) for index in indexes or (0,)]


def scheduling() -> Iterator[Situation]:
    three = [node("g1"), node("g2"), node("g3")]
    four = job("Created", replicas=4)
    waiting = unscheduled(0, 1, 2, 3)
    yield "gpus-in-use", "4 × 8 GPUs, every node partly taken", "insufficient-gpu", snapshot(
        four, *waiting, nodes=[*three, node("g4"), node("g5", cordoned=True)],
        placed=[placed("g1", gpus=2), placed("g2", gpus=8), placed("g3", gpus=4), placed("g4", gpus=6)],
    )  # fmt: skip
    yield (
        "gpus-need-cordoned",
        "4 × 8 GPUs on three open nodes and a cordoned one",
        "insufficient-gpu",
        snapshot(four, *waiting, nodes=[*three, node("g4", cordoned=True)], placed=[placed("g1", gpus=1)]),
    )
    yield (
        "gpus-never",
        "4 × 8 GPUs, three nodes of 8 in all",
        "insufficient-gpu",
        snapshot(four, *waiting, nodes=three, placed=[]),
    )
    yield "gpus-too-many-a-node", "16 GPUs a pod, nodes have 8", "insufficient-gpu", snapshot(
        job("Created", spec=template(gpus=16)), pod(0, unscheduled=NO_GPU, spec=template(gpus=16)), nodes=three,
        placed=[],
    )  # fmt: skip
    yield (
        "gpus-unseen",
        "not enough GPUs, and nodes may not be looked at",
        "insufficient-gpu",
        snapshot(
            job("Created"), *unscheduled(), skipped=[{"what": "nodes of the cluster", "reason": "denied"}]
        ),
    )
    yield (
        "gpus-placed-unseen",
        "not enough GPUs, pods of others may not be looked at",
        "insufficient-gpu",
        snapshot(
            job("Created"),
            *unscheduled(),
            nodes=three,
            skipped=[{"what": "pods of the cluster", "reason": "denied"}],
        ),
    )
    yield (
        "gpus-not-offered",
        "no device plug-in",
        "gpu-not-offered",
        snapshot(job("Created"), *unscheduled(), nodes=[node("c1", gpus=0), node("c2", gpus=0)], placed=[]),
    )
    yield "daemon-takes-memory", "memory that only daemons hold is never free", "insufficient-memory", snapshot(
        job("Created", spec=template(memory="508Gi")),
        pod(0, unscheduled="0/1 nodes are available: 1 Insufficient memory.", spec=template(memory="508Gi")),
        nodes=[node("g1")], placed=[placed("g1", memory="8Gi", owner="DaemonSet")],
    )  # fmt: skip
    yield "cpu-in-use", "CPUs are taken", "insufficient-cpu", snapshot(
        job("Created"), *unscheduled(message="0/1 nodes are available: 1 Insufficient cpu."), nodes=[node("g1")],
        placed=[placed("g1", cpu="90")],
    )  # fmt: skip
    yield (
        "cpu-unseen",
        "CPUs are taken, by the scheduler's words",
        "insufficient-cpu",
        snapshot(
            job("Created"),
            *unscheduled(
                message="0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
        ),
    )
    yield (
        "cpu-and-memory-unseen",
        "some nodes lack CPUs and others memory, and nodes may not be looked at",
        "insufficient-cpu",
        snapshot(
            job("Created"),
            *unscheduled(message="0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu."),
        ),
    )
    yield (
        "rdma-unseen",
        "an extended resource that is no GPU",
        "insufficient-resource",
        snapshot(job("Created"), *unscheduled(message="0/3 nodes are available: 3 Insufficient rdma/hca.")),
    )
    yield (
        "disk-unseen",
        "ephemeral storage",
        "insufficient-disk",
        snapshot(
            job("Created"), *unscheduled(message="0/3 nodes are available: 3 Insufficient ephemeral-storage.")
        ),
    )
    yield (
        "too-many-pods",
        "nodes hold no more pods",
        "too-many-pods",
        snapshot(job("Created"), *unscheduled(message="0/3 nodes are available: 3 Too many pods.")),
    )
    selected = template(nodeSelector={"gpu": "h100"})
    yield "selector", "no node has the label", "node-selector", snapshot(
        job("Created", spec=selected),
        pod(0, spec=selected, unscheduled="0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
        nodes=[node("g1", labels=GPU), node("g2", labels=GPU)], placed=[],
    )  # fmt: skip
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    tainted = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {nvidia.com/gpu: present}."
    yield "taint", "the GPU nodes are tainted, the CPU node came further", "untolerated-taint", snapshot(
        job("Created"), *unscheduled(message=tainted),
        nodes=[node("c1", gpus=0), node("g1", taints=(taint,)), node("g2", taints=(taint,))], placed=[],
    )  # fmt: skip
    yield (
        "taint-unseen",
        "only the scheduler's words about a taint",
        "untolerated-taint",
        snapshot(
            job("Created"),
            *unscheduled(message="0/2 nodes are available: 2 node(s) had untolerated taint {team: b}."),
        ),
    )
    yield "cordoned", "all nodes are cordoned", "nodes-cordoned", snapshot(
        job("Created"), *unscheduled(message="0/2 nodes are available: 2 node(s) were unschedulable."),
        nodes=[node("g1", cordoned=True), node("g2", ready="Unknown")], placed=[],
    )  # fmt: skip
    yield (
        "host-port",
        "a host port is taken",
        "host-port",
        snapshot(
            job("Created"),
            *unscheduled(
                message="0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
            ),
        ),
    )
    yield "affinity", "pods must stand apart", "pod-affinity", snapshot(
        job("Created", replicas=2), runs(0), *unscheduled(1, message="0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."),
        nodes=[node("g1", gpus=16)], placed=[placed("g1", gpus=8)],
    )  # fmt: skip
    yield (
        "spread",
        "topology spread",
        "topology-spread",
        snapshot(
            job("Created"),
            *unscheduled(
                message="0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints."
            ),
        ),
    )
    yield "volume-zone", "the claim's volume is in another zone", "volume-zone", snapshot(
        job("Created", spec=template(claims=("runs",))),
        *unscheduled(message="0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match PersistentVolume's node affinity."),
        nodes=three, placed=[placed("g1", gpus=8)], claims=[claim("runs", "ReadWriteOnce")],
    )  # fmt: skip
    yield (
        "volume-zone-old",
        "the words of releases before 1.33",
        "volume-zone",
        snapshot(
            job("Created"),
            *unscheduled(message="0/3 nodes are available: 3 node(s) had volume node affinity conflict."),
        ),
    )
    yield (
        "volume-limit",
        "nodes have as many volumes as they can",
        "volume-limit",
        snapshot(
            job("Created"),
            *unscheduled(message="0/3 nodes are available: 3 node(s) exceed max volume count."),
        ),
    )
    yield (
        "plugin",
        "a filter that nobody knows",
        "unschedulable",
        snapshot(
            job("Created"),
            *unscheduled(message="0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [Custom]."),
        ),
    )
    yield (
        "preempting",
        "room is being made",
        "preempting",
        snapshot(job("Created"), *unscheduled(nominatedNodeName="g2")),
    )
    yield "gate", "a scheduling gate", "scheduling-gated", snapshot(
        job("Created"),
        pod(0, unscheduled="Scheduling is blocked due to non-empty scheduling gates", gated=True,
            spec=template(schedulingGates=[{"name": "example.com/hold"}])),
    )  # fmt: skip
    yield (
        "scheduler-missing",
        "a scheduler of that name does not run",
        "scheduler-missing",
        snapshot(job("Created"), pod(0, spec=template(schedulerName="volcano"))),
    )
    yield (
        "scheduling",
        "pods of a second ago",
        "scheduling",
        snapshot(job("Created", age_s=3), pod(0, age_s=2)),
    )
    yield (
        "no-nodes",
        "a cluster without nodes",
        "no-nodes",
        snapshot(
            job("Created"), *unscheduled(message="no nodes available to schedule pods"), nodes=[], placed=[]
        ),
    )
    gang = {"labels": {"scheduling.x-k8s.io/pod-group": "flowers"}}
    group = {"metadata": {"name": "flowers"}, "spec": {"minMember": 3}, "status": {"phase": "Pending"}}
    siblings = GANG.format(
        "pre-filter pod flowers-worker-0 cannot find enough sibling pods, current pods number: 1, minMember of group: 3"
    )
    gap = GANG.format("resource gap: map[nvidia.com/gpu:{{3 0} {<nil>}  DecimalSI}]")
    waiting = [*unscheduled(0, message=siblings, **gang), *unscheduled(1, 2, message=gap, **gang)]
    yield "gang", "room for two of three", "gang-incomplete", snapshot(
        job("Created", replicas=3), *waiting, nodes=three, placed=[placed("g3", gpus=3)], pod_groups=[group],
    )  # fmt: skip
    yield "gang-unseen", "a gang, nodes may not be looked at", "gang-incomplete", snapshot(
        job("Created", replicas=3), *waiting, pod_groups=[{**group, "status": {}}],
    )  # fmt: skip
    yield "gang-ready", "room for all of a gang by now", "gang-ready", snapshot(
        job("Created", replicas=3), *waiting, nodes=three, placed=[], pod_groups=[group]
    )  # fmt: skip
    early = unscheduled(0, 1, 2, message="0/1 nodes are available: 1 PodGroup not found.", **gang)
    yield "gang-early", "pods that the scheduler met before their group, as their user sees it", "gang-early", snapshot(
        job("Created", replicas=3), *early, pod_groups=[group],
    )  # fmt: skip
    yield "gang-early-room", "likewise, with the nodes", "gang-ready", snapshot(
        job("Created", replicas=3), *early, nodes=three, placed=[], pod_groups=[group],
    )  # fmt: skip
    yield "gang-rejected", "a gang of which the scheduler only says that it was turned away", "gang-incomplete", snapshot(
        job("Created", replicas=2),
        *unscheduled(0, 1, message="0/1 nodes are available: 1 optimistic rejection in PostFilter.", **gang),
    )  # fmt: skip
    yield "gang-selector-unseen", "a gang that no node is labelled for", "node-selector", snapshot(
        job("Created", replicas=2),
        *unscheduled(0, 1, message=GANG.format("2 node(s) didn't match Pod's node affinity/selector"), **gang),
    )  # fmt: skip
    yield "gang-rejoining", "a gang's pod was made again, and its place is taken", "insufficient-gpu", snapshot(
        job("Created", "Running", replicas=2, start=True), runs(0, age_s=900, since_s=890, **gang),
        *unscheduled(1, message=GANG.format("3 Insufficient nvidia.com/gpu"), **gang),
        nodes=three, placed=[placed("g1", gpus=8), placed("g2", gpus=8), placed("g3", gpus=8)],
    )  # fmt: skip
    yield "gang-rejoins", "a gang's pod was made again, and there is room for it", "gang-ready", snapshot(
        job("Created", "Running", replicas=2, start=True), runs(0, age_s=900, since_s=890, **gang),
        *unscheduled(1, message=GANG.format("3 Insufficient nvidia.com/gpu"), **gang),
        nodes=three, placed=[placed("g1", gpus=8)],
    )  # fmt: skip
    yield "gang-scheduler-missing", "no scheduler of the name that the operator sets", "scheduler-missing", snapshot(
        job("Created"), pod(0, spec=template(schedulerName="coscheduling"), **gang)
    )  # fmt: skip


def waiting_outside() -> Iterator[Situation]:
    queued = job("Created", "Suspended", queue="team-queue", suspend=True)
    lack = "couldn't assign flavors to pod set worker: insufficient unused quota for nvidia.com/gpu in flavor a100, 8 more needed"
    yield "queue-position", "third in the queue", "queue-waiting", snapshot(
        queued, workloads=[
            workload("w-own", lack, age_s=100, own=True), workload("w-1", lack, age_s=300),
            workload("w-2", lack, age_s=200), workload("w-3", "Quota reserved", age_s=400, reserved=True),
            workload("w-4", lack, age_s=500, queue="other"),
        ],
    )  # fmt: skip
    never = "couldn't assign flavors to pod set worker: insufficient quota for nvidia.com/gpu in flavor a100, request > maximum capacity (32 > 16)"
    yield (
        "queue-never",
        "more than the queue has",
        "queue-never",
        snapshot(queued, workloads=[workload("w-own", never, age_s=100, own=True)]),
    )
    yield (
        "queue-missing",
        "no such queue",
        "queue-missing",
        snapshot(
            queued, workloads=[workload("w-own", "LocalQueue team-queue doesn't exist", age_s=100, own=True)]
        ),
    )
    yield (
        "queue-inactive",
        "a stopped queue",
        "queue-inactive",
        snapshot(
            queued, workloads=[workload("w-own", "ClusterQueue shared is inactive", age_s=100, own=True)]
        ),
    )
    for name, age_s in (("queue-let-in", 10), ("queue-not-started", 100)):
        let_in = workload("w-own", "Quota reserved", age_s=200, own=True, reserved=True)
        admitted = {"type": "Admitted", "status": "True", "reason": "Admitted", "message": "let in",
                    "lastTransitionTime": clock(age_s)}  # fmt: skip
        let_in["status"]["conditions"].append(admitted)
        yield name, f"let in {age_s} s ago", "queue-starting", snapshot(queued, workloads=[let_in])
    yield "queue-unseen", "Workloads may not be looked at", "queue-waiting", snapshot(queued)
    stored = job("Created", replicas=2)
    denied = 'Error creating: pods "flowers-worker-0" is forbidden: '

    def refused(message: str, **more: Any) -> Item:
        return snapshot(
            stored, events=[event(stored, "FailedCreatePod", denied + message, kind="PaddleJob")], **more
        )

    exceeded = "exceeded quota: team, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=12, limited: requests.nvidia.com/gpu=16"
    yield (
        "quota-used",
        "others use the quota",
        "quota-exceeded",
        refused(exceeded, quotas=[quota("team", **{"requests_nvidia.com/gpu": ("16", "12")})]),
    )
    small = exceeded.replace(
        "limited: requests.nvidia.com/gpu=16", "limited: requests.nvidia.com/gpu=8"
    ).replace("=12", "=0")
    yield (
        "quota-never",
        "the job alone is larger than the quota",
        "quota-never",
        refused(small, quotas=[quota("team", **{"requests_nvidia.com/gpu": ("8", "0")})]),
    )
    yield "quota-unseen", "quotas may not be looked at", "quota-exceeded", refused(exceeded)
    yield (
        "quota-requests",
        "the quota wants requests",
        "quota-needs-requests",
        refused("failed quota: team: must specify limits.cpu for: paddle"),
    )
    yield (
        "limit-range",
        "a container is too large",
        "limit-range",
        refused("maximum memory usage per Container is 32Gi, but limit is 64Gi"),
    )
    yield (
        "service-account",
        "no such service account",
        "service-account-missing",
        refused('error looking up service account team-a/trainer: serviceaccount "trainer" not found'),
    )
    yield (
        "priority-class",
        "no such priority class",
        "priority-class-missing",
        refused("no PriorityClass with name urgent was found"),
    )
    yield (
        "webhook-away",
        "a webhook does not answer",
        "webhook-unreachable",
        snapshot(
            stored,
            events=[
                event(
                    stored,
                    "FailedCreatePod",
                    'Error creating: Internal error occurred: failed calling webhook "pods.policy.example": failed to call webhook: Post "https://policy.policy.svc:443/pods": dial tcp 10.0.0.9:443: connect: connection refused',
                    kind="PaddleJob",
                )
            ],
        ),
    )
    yield (
        "webhook-no",
        "a policy refuses",
        "webhook-denied",
        snapshot(
            stored,
            events=[
                event(
                    stored,
                    "FailedCreatePod",
                    'Error creating: admission webhook "validate.policy.example" denied the request: images must come from registry.corp',
                    kind="PaddleJob",
                )
            ],
        ),
    )
    yield (
        "pod-invalid",
        "a pod that is no pod",
        "pod-refused",
        snapshot(
            stored,
            events=[
                event(
                    stored,
                    "FailedCreatePod",
                    'Error creating: Pod "flowers-worker-0" is invalid: spec.containers[0].resources.requests: Invalid value: "8": must be less than or equal to cpu limit of 4',
                    kind="PaddleJob",
                )
            ],
        ),
    )
    yield (
        "namespace-ending",
        "the namespace goes",
        "namespace-ending",
        refused("unable to create new content in namespace team-a because it is being terminated"),
    )
    yield "no-operator", "no operator", "no-controller", snapshot(job(age_s=300))
    yield "submitted", "a second ago", "submitted", snapshot(job(age_s=1))
    yield (
        "pods-missing",
        "the operator is at it",
        "pods-missing",
        snapshot(job("Created", replicas=3, age_s=3), runs(0, since_s=1)),
    )
    yield (
        "suspending",
        "somebody is about to suspend it",
        "suspended",
        snapshot(job("Created", "Running", suspend=True), runs(0)),
    )
    yield (
        "suspended",
        "somebody has suspended it",
        "suspended",
        snapshot(job("Created", "Suspended", suspend=True)),
    )
    cancelled = {"ftlaunch.io/cancelled": "true"}
    yield (
        "cancelling",
        "its pods save",
        "cancelling",
        snapshot(job("Created", "Running", suspend=True, annotations=cancelled), runs(0)),
    )
    yield (
        "deleting",
        "being deleted",
        "being-deleted",
        snapshot(job("Created", "Running", deleted=True), runs(0, deleted_s=-20)),
    )


def volumes() -> Iterator[Situation]:
    spec = template(claims=("data:ro", "runs"))
    two = job("Created", replicas=2, spec=spec)
    immediate = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    pods = unscheduled(0, 1, message=immediate)
    classes = [storage_class("nfs", default=True), storage_class("local", mode="WaitForFirstConsumer")]
    yield "claim-pending", "provisioning fails", "claim-pending", snapshot(
        two, *pods, storage_classes=classes, claims=[claim("data"), claim("runs", phase="Pending")],
        events=[event(claim("runs"), "ProvisioningFailed", 'failed to provision volume with StorageClass "nfs": rpc error: code = DeadlineExceeded', kind="PersistentVolumeClaim")],
    )  # fmt: skip
    yield "claim-unseen", "claims may not be looked at", "claim-pending", snapshot(two, *pods)
    yield (
        "claim-class",
        "a class that is not there",
        "claim-class-missing",
        snapshot(
            two,
            *pods,
            storage_classes=classes,
            claims=[claim("data"), claim("runs", phase="Pending", storage_class="fast")],
        ),
    )
    yield "claim-no-default", "no class and no default", "claim-class-missing", snapshot(
        two, *pods, storage_classes=[storage_class("nfs")],
        claims=[claim("data"), claim("runs", phase="Pending", storage_class=None)],
    )  # fmt: skip
    yield (
        "claim-lost",
        "its volume is gone",
        "claim-lost",
        snapshot(two, *pods, claims=[claim("data"), claim("runs", phase="Lost")]),
    )
    yield "claim-deleted", "a claim is being deleted", "claim-being-deleted", snapshot(
        two, *unscheduled(0, 1, message='0/3 nodes are available: persistentvolumeclaim "runs" is being deleted.'),
        claims=[claim("data"), claim("runs", deleted=True)],
    )  # fmt: skip
    missing = '0/3 nodes are available: persistentvolumeclaim "runs" not found.'
    yield (
        "claim-missing-unseen",
        "no such claim, and claims may not be looked at",
        "claim-missing",
        snapshot(
            two,
            *unscheduled(0, 1, message=missing),
            events=[event(pod(index), "FailedScheduling", missing) for index in (0, 1)],
        ),
    )
    yield (
        "claim-missing",
        "no such claim",
        "claim-missing",
        snapshot(two, *unscheduled(0, 1, message=missing), claims=[claim("data")]),
    )
    once = waits(index=1, host="g2")
    yield "claim-once", "ReadWriteOnce on two nodes", "volume-busy", snapshot(
        two, runs(0), once, claims=[claim("data"), claim("runs", "ReadWriteOnce")],
        events=[event(once, "FailedAttachVolume", 'Multi-Attach error for volume "pvc-77" Volume is already exclusively attached to one node and can\'t be attached to another')],
    )  # fmt: skip
    yield "claim-once-pod", "ReadWriteOncePod for two pods", "claim-access-mode", snapshot(
        two, runs(0), *unscheduled(1, message="0/3 nodes are available: 3 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod."),
        claims=[claim("data", "ReadOnlyMany"), claim("runs", "ReadWriteOncePod")],
    )  # fmt: skip
    stuck = waits()
    one = job("Created", spec=spec)

    def mounting(reason: str, message: str) -> Item:
        return snapshot(one, stuck, events=[event(stuck, reason, message)])

    yield (
        "secret-key",
        "a Secret lacks the key",
        "secret-key-missing",
        mounting(
            "FailedMount",
            'MountVolume.SetUp failed for volume "secret-0" : references non-existent secret key: token',
        ),
    )
    yield (
        "config-map",
        "the ConfigMap is gone",
        "config-map-missing",
        mounting(
            "FailedMount",
            'MountVolume.SetUp failed for volume "config" : configmap "flowers-config" not found',
        ),
    )
    yield (
        "nfs-away",
        "an NFS server that does not answer",
        "mount-failed",
        mounting(
            "FailedMount",
            'MountVolume.SetUp failed for volume "nfs" : mount failed: exit status 32 Mounting arguments: -t nfs nas:/data /var/lib/kubelet/x Output: mount.nfs: Connection timed out',
        ),
    )
    sub = waits(
        "CreateContainerConfigError",
        'failed to create subPath directory for volumeMount "v-runs" of container "paddle"',
    )
    yield "sub-path", "a folder of a volume", "sub-path-failed", snapshot(one, sub)


def images() -> Iterator[Situation]:
    back = f'Back-off pulling image "{IMAGE}": ErrImagePull: failed to pull and unpack image "{IMAGE}": '
    said = {
        "image-missing": ("no such tag", "image-not-found", f'failed to resolve reference "{IMAGE}": {IMAGE}: not found'),
        "image-private": ("pull access denied", "image-denied", f'failed to resolve reference "{IMAGE}": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed'),
        "image-forbidden": ("403", "image-denied", f'failed to resolve reference "{IMAGE}": unexpected status from HEAD request to https://registry.example/v2/ftlaunch-trainer/manifests/1.0-gpu: 403 Forbidden'),
        "image-limit": ("Docker Hub's limit", "image-rate-limited", "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/x/manifests/1: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit."),
        "image-platform": ("arm64 only", "image-wrong-platform", f'failed to resolve image "{IMAGE}": no match for platform in manifest: not found'),
        "image-space": ("the node is full", "image-no-space", "failed to extract layer sha256:77: write /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/9/fs/x: no space left on device: unknown"),
        "registry-name": ("its name does not resolve", "registry-unreachable", f'failed to resolve reference "{IMAGE}": failed to do request: Head "https://registry.example/v2/x": dial tcp: lookup registry.example on 10.96.0.10:53: no such host'),
        "registry-tls": ("a certificate of its own", "registry-unreachable", f'failed to resolve reference "{IMAGE}": failed to do request: Head "https://registry.example/v2/x": tls: failed to verify certificate: x509: certificate signed by unknown authority'),
        "image-odd": ("words that nobody knows", "image-pull-failed", "unlucky"),
    }  # fmt: skip
    for name, (what, code, words) in said.items():
        yield name, what, code, snapshot(job("Created"), waits("ImagePullBackOff", back + words))
    plain = waits("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"')
    yield (
        "image-old-kubelet",
        "before 1.30 only the event says why",
        "image-not-found",
        snapshot(
            job("Created"),
            plain,
            events=[
                event(
                    plain,
                    "Failed",
                    f'Failed to pull image "{IMAGE}": rpc error: code = NotFound desc = failed to pull and unpack image: {IMAGE}: not found',
                )
            ],
        ),
    )
    pulling = waits()
    yield (
        "image-pulling",
        "a long pull",
        "container-starting",
        snapshot(
            job("Created"),
            pulling,
            events=[event(pulling, "Pulling", f'Pulling image "{IMAGE}"', normal=True)],
        ),
    )
    yield (
        "root-image",
        "the image is root's",
        "runs-as-root",
        snapshot(
            job("Created"),
            waits(
                "CreateContainerConfigError",
                'container has runAsNonRoot and image will run as root (pod: "flowers-worker-0_team-a(x)", container: paddle)',
            ),
        ),
    )
    start = ended(
        128,
        'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "python": executable file not found in $PATH',
        reason="StartError",
    )
    yield (
        "no-python",
        "not a trainer image",
        "program-missing",
        snapshot(job("Created", "Failed: failed"), start),
    )
    wrong = ended(
        128, "failed to create containerd task: exec /usr/bin/python: exec format error", reason="StartError"
    )
    yield (
        "exec-format",
        "an image of another architecture that was pulled",
        "image-wrong-platform",
        snapshot(job("Created", "Failed: failed"), wrong),
    )
    box = waits()
    yield (
        "no-network",
        "the CNI plug-in is not there",
        "network-not-ready",
        snapshot(
            job("Created"),
            box,
            events=[
                event(
                    box,
                    "FailedCreatePodSandBox",
                    'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "9f": plugin type="calico" failed (add): stat /var/lib/calico/nodename: no such file or directory',
                )
            ],
        ),
    )


def endings() -> Iterator[Situation]:
    failed = job(
        "Created", "Failed: PaddleJob flowers is failed because 1 Worker replica(s) failed.", replicas=1
    )
    over = "(all 4 attempts are used up)"

    def end(code: int, words: str, *lines: str, reason: str = "Error", **more: Any) -> Item:
        logs = {"flowers-worker-0": [line(text) for text in lines]} if lines else {}
        return snapshot(failed, ended(code, words, reason=reason, own=code, **more), logs=logs)

    yield "shm", "a rank got SIGBUS", "shm-full", end(20, f"killed by signal 7 {over}")
    yield (
        "shm-workers",
        "Paddle's own words about /dev/shm",
        "shm-full",
        end(
            20,
            f"killed by signal 6 {over}",
            "[a4 r1] It is possible that there is insufficient shared memory: Bus error",
        ),
    )
    yield "killed", "SIGKILL without a word of memory", "rank-killed", end(20, f"killed by signal 9 {over}")
    yield "segfault", "a rank crashed", "rank-crashed", end(20, f"killed by signal 11 {over}")
    yield (
        "gpu-memory",
        "the batch is too large",
        "gpu-memory",
        end(
            20,
            f"internal error: SystemError: (External) ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate 2.0GB memory on GPU 0, 78GB memory has been allocated {over}",
            checkpoint="/runs/a/.ftlaunch/checkpoints/e001-s000400",
        ),
    )
    yield (
        "driver",
        "the driver is too old",
        "cuda-driver",
        end(
            20,
            f"internal error: OSError: (External) CUDA error(35), CUDA driver version is insufficient for CUDA runtime version. {over}",
        ),
    )
    yield (
        "cpu-build",
        "Paddle without CUDA",
        "cuda-build",
        end(
            1,
            "internal error: ValueError: Cannot use GPU because you have installed CPU version PaddlePaddle.",
        ),
    )
    yield (
        "arch",
        "a GPU that the build does not know",
        "cuda-build",
        end(
            20,
            f"killed by signal 6 {over}",
            "[a4 r0] OSError: (External) CUDA error(209), no kernel image is available for execution on the device.",
        ),
    )
    yield (
        "ecc",
        "a broken GPU",
        "gpu-fault",
        end(
            20,
            f"killed by signal 6 {over}",
            "[a4 r5] (External) CUDA error(214), uncorrectable ECC error encountered.",
        ),
    )
    yield (
        "nccl-interface",
        "NCCL_SOCKET_IFNAME names nothing",
        "network-interface",
        end(
            20,
            f"killed by signal 6 {over}",
            "[a4 r0] flowers-worker-0:71:71 [0] bootstrap.cc:45 NCCL WARN Bootstrap : no socket interface found",
            "[a4 r0] ExternalError: NCCL error(3), internal error.",
        ),
    )
    yield (
        "gloo-interface",
        "GLOO_SOCKET_IFNAME names nothing",
        "network-interface",
        end(
            20,
            f"internal error: RuntimeError: [enforce fail at gloo/transport/tcp/device.cc:83] ifa != nullptr. Unable to find address for: eth9 {over}",
        ),
    )
    yield (
        "nccl-system",
        "NCCL failed",
        "nccl-failed",
        end(
            20,
            f"killed by signal 6 {over}",
            "[a4 r3] NCCL WARN NET/IB : Got completion from peer with status 12",
            "[a4 r3] ncclSystemError: System call (e.g. socket, malloc) or external library call failed",
        ),
    )
    yield (
        "data",
        "a broken list",
        "data-refused",
        end(
            3,
            "train_list.txt:9: expected a label from 0 to 2, got 3; Arch.class_num is 3: raise it or correct the label (another attempt would only repeat it)",
        ),
    )
    yield (
        "data-denied",
        "lists that the user may not read",
        "data-denied",
        end(
            3,
            "/data/train_list.txt: expected a list file, got: [Errno 13] Permission denied: '/data/train_list.txt'",
        ),
    )
    yield (
        "data-denied-lower",
        "as a node process writes it",
        "data-denied",
        end(
            3,
            "/data/train_list.txt: expected a readable list file: [errno 13] permission denied: '/data/train_list.txt' (another attempt would only repeat it)",
        ),
    )
    yield (
        "config",
        "the trainer refuses the config",
        "config-refused",
        end(2, "cfg.yaml:12:7: Arch: expected one of …, got 'ResNet50vd'; did you mean 'ResNet50_vd'?"),
    )
    yield (
        "weights-unreachable",
        "pods that reach no internet and have no weights",
        "weights-missing",
        end(
            2,
            "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/ResNet50_vd_pretrained.pdparams: URLError: <urlopen error [Errno -2] Name or service not known>; tried 4 times; put it at /home/u/.paddleclas/weights/ResNet50_vd_pretrained.pdparams, or set Arch.pretrained to the path of your copy",
        ),
    )
    yield (
        "taken",
        "another run's folder",
        "output-taken",
        end(
            2,
            "/runs/a: expected an empty output folder, got one with run 0123; choose another Global.output_dir",
        ),
    )
    yield (
        "full",
        "no space on the claim",
        "output-full",
        end(
            5,
            "/runs/a: expected room for a checkpoint, got: [Errno 28] No space left on device; free some and run again",
        ),
    )
    yield (
        "quota-disk",
        "a quota of the file server",
        "output-full",
        end(
            5, "/runs/a: cannot be written: [Errno 122] Disk quota exceeded: '/runs/a/.ftlaunch/run.json.tmp'"
        ),
    )
    yield (
        "denied",
        "the claim belongs to root",
        "output-denied",
        end(5, "/runs/a: cannot be written: [Errno 13] Permission denied: '/runs/a/.ftlaunch'"),
    )
    yield (
        "read-only",
        "mounted read-only",
        "output-read-only",
        end(5, "/runs/a: cannot be written: [Errno 30] Read-only file system: '/runs/a/.ftlaunch'"),
    )
    yield (
        "lock-lost",
        "another process took the folder",
        "output-failed",
        end(5, "/runs/a/.ftlaunch/writer.lock: it was lost"),
    )
    yield (
        "rendezvous",
        "nodes did not come",
        "rendezvous-failed",
        end(21, "node 1, 2 did not come within 600 s"),
    )
    yield (
        "dns",
        "the name of node 0 is unknown",
        "dns-failed",
        end(
            21,
            "node 0 at flowers-worker-0:36544 did not answer within 600 s: [Errno -2] Name or service not known",
        ),
    )
    yield (
        "hung",
        "a rank hung",
        "rank-hung",
        end(22, f"rank 3 hung: in load after step 40, silent for 612 s {over}"),
    )
    yield (
        "module",
        "a module of the user's",
        "module-failed",
        end(1, "/code/my_ops.py:12: error in a module of yours: KeyError: 'x'"),
    )
    yield (
        "attempts",
        "every attempt failed in another way",
        "attempts-used-up",
        end(20, f"ranks vanished {over}"),
    )
    yield (
        "deadline",
        "Launch.deadline",
        "deadline-passed",
        end(23, "the deadline of 3600 s passed", checkpoint="/runs/a/.ftlaunch/checkpoints/e001-s000400"),
    )
    yield (
        "stop-if",
        "GPUs that idle",
        "stop-condition",
        end(
            24,
            "stop_if: GPUs were 2.0% in use in the last 30 min, less than 10%",
            checkpoint="/runs/a/.ftlaunch/checkpoints/e001-s000400",
        ),
    )
    yield (
        "succeeded",
        "all is done",
        "succeeded",
        snapshot(
            job("Created", "Succeeded: successfully completed"),
            ended(
                0, "done", reason="Completed", own=0, checkpoint="/runs/a/.ftlaunch/checkpoints/e009-s004000"
            ),
        ),
    )
    yield (
        "ended-early",
        "Global.early_stopping",
        "succeeded",
        snapshot(
            job("Created", "Succeeded: successfully completed"),
            ended(0, "early stopping after epoch 7 of 20: top1 has not come above 0.9 (epoch 2) in 5 evaluations",
                  reason="Completed", own=0),
        ),
    )  # fmt: skip
    yield (
        "cancelled",
        "saved and stopped",
        "cancelled",
        snapshot(job("Created", "Suspended", suspend=True, annotations={"ftlaunch.io/cancelled": "true"})),
    )
    yield (
        "empty-dir",
        "a folder of the pod's own is full",
        "evicted-volume",
        snapshot(
            failed,
            pod(
                0,
                host="g1",
                phase="Failed",
                reason="Evicted",
                message='Usage of EmptyDir volume "shm" exceeds the limit "1Gi". ',
            ),
        ),
    )
    yield (
        "container-odd",
        "a start that fails for an odd reason",
        "container-failed",
        snapshot(job("Created"), waits("CreateContainerError", "failed to reserve container name")),
    )
    yield "bug", "an internal error", "trainer-bug", end(1, "internal error: KeyError: 'x'")
    yield (
        "stopped",
        "SIGTERM and no return",
        "stopped",
        snapshot(failed, ended(143, "stopped after step 40", own=143)),
    )
    yield "silent-end", "a program that is not ours", "failed", snapshot(failed, ended(1, ""))
    yield "pods-gone", "the pods are gone, only the operator's word is left", "failed", snapshot(failed)
    yield (
        "silent-oom",
        "killed by the kernel, in a foreign program",
        "out-of-memory",
        snapshot(failed, ended(137, "", reason="OOMKilled")),
    )
    looping = runs(0, restarts=5, since_s=3)
    looping["status"]["containerStatuses"][0]["lastState"] = {
        "terminated": {"exitCode": 1, "reason": "Error", "message": ""}
    }
    yield (
        "crash-loop",
        "a foreign program that ends again and again",
        "crash-loop",
        snapshot(
            job("Created", "Running"),
            waits(
                "CrashLoopBackOff",
                "back-off 40s restarting failed container=paddle",
                restarts=4,
                last={"terminated": {"exitCode": 1, "reason": "Error"}},
            ),
        ),
    )
    evicted = pod(
        0,
        host="g1",
        phase="Failed",
        reason="Evicted",
        message="The node was low on resource: ephemeral-storage. Threshold quantity: 27263976Ki, available: 19328Ki. Container paddle was using 44Gi, request is 0, has larger consumption of ephemeral-storage. ",
    )
    yield "evicted-disk", "the node's disk", "evicted-disk", snapshot(failed, evicted)
    memory = waits(age_s=10)
    gone = {"metadata": {"name": "flowers-worker-0", "uid": "the-old-one"}}
    yield (
        "evicted-memory",
        "made again after an eviction",
        "evicted-memory",
        snapshot(
            job("Created", "Restarting: is restarting"),
            memory,
            events=[
                event(
                    gone,
                    "Evicted",
                    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 17348Ki. Container paddle was using 60Gi, request is 0, has larger consumption of memory. ",
                    age_s=40,
                )
            ],
        ),
    )
    yield (
        "evicted-before",
        "an eviction that was survived, then bad data",
        "data-refused",
        snapshot(
            failed,
            ended(3, "train_list.txt:9: expected a label from 0 to 2, got 3", own=3),
            events=[event(gone, "Evicted", "The node was low on resource: memory. ", age_s=300)],
        ),
    )
    yield (
        "preempted",
        "made again after a preemption",
        "preempted",
        snapshot(
            job("Created", "Restarting: is restarting"),
            pod(0, age_s=5),
            events=[event(gone, "Preempted", "Preempted by pod 3f on node g1", age_s=9)],
        ),
    )
    drained = runs(
        0,
        deleted_s=-60,
        conditions=[
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            }
        ],
    )
    yield (
        "drained",
        "kubectl drain",
        "node-drained",
        snapshot(job("Created", "Restarting: is restarting", replicas=2), drained, waits(index=1)),
    )
    refused = pod(
        0,
        host="g1",
        phase="Failed",
        reason="UnexpectedAdmissionError",
        message="Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 8, Available: 7, which is unexpected",
    )
    yield (
        "device-gone",
        "a GPU fell out between scheduling and start",
        "node-refused",
        snapshot(failed, refused),
    )
    dead = [node("g1"), node("g2", ready="Unknown")]
    yield (
        "node-lost",
        "a node fell silent",
        "node-lost",
        snapshot(job("Created", "Running", replicas=2), runs(0), runs(1, ready=False), nodes=dead, placed=[]),
    )
    yield (
        "delete-stuck",
        "a pod on a dead node was told to go",
        "delete-stuck",
        snapshot(
            job("Created", "Restarting: is restarting", replicas=2),
            runs(0),
            runs(1, ready=False, deleted_s=400),
            nodes=dead,
            placed=[],
        ),
    )


def going_on() -> Iterator[Situation]:
    on = job("Created", "Running", replicas=2, start=True, age_s=4000)
    pods = [runs(0, since_s=3900, age_s=3990), runs(1, since_s=3900, age_s=3990)]

    def logs(*lines: str) -> Item:
        return {"flowers-worker-0": list(lines)}

    ranks = [rank(number) for number in range(4)]
    yield "healthy", "four ranks make steps", "running", snapshot(on, *pods, logs=logs(progress(*ranks)))
    yield (
        "one-rank-begins",
        "one of two ranks has reported, before its first step",
        "running",
        snapshot(on, *pods, logs=logs(progress(rank(0, step=0), world_size=2))),
    )
    hungry = [rank(number, times=steps(0.5, wait_s=0.31)) for number in range(4)]
    yield (
        "images-slow",
        "62 % of each step waits for images",
        "images-slow",
        snapshot(on, *pods, logs=logs(progress(*hungry))),
    )
    late = [rank(number, times=steps(1.3, peers_s=0.7)) for number in range(3)]
    yield (
        "rank-slow",
        "three ranks wait for one whose images come late",
        "rank-slow",
        snapshot(on, *pods, logs=logs(progress(*late, rank(3, times=steps(1.3, wait_s=0.8))))),
    )
    yield (
        "unheard",
        "no step yet",
        "running-unheard",
        snapshot(on, *pods, logs=logs(line("[a1 n0] attempt 1 begins: 4 ranks on 2 nodes"))),
    )
    hung = [
        rank(0, silent_s=95),
        rank(1, silent_s=95),
        rank(2, phase="load", step=119, silent_s=95),
        rank(3, silent_s=95),
    ]
    yield (
        "silent-rank",
        "three wait in a collective for one that loads",
        "rank-silent",
        snapshot(on, *pods, logs=logs(progress(*hung))),
    )
    yield (
        "waiting-node",
        "node 1 has not come",
        "rendezvous-waiting",
        snapshot(on, *pods, logs=logs(line("[a0 n0] waiting for node 1 (20 s of 600 s)"))),
    )
    yield (
        "waiting-dns",
        "node 1 does not find node 0",
        "dns-failed",
        snapshot(
            on,
            *pods,
            logs={
                "flowers-worker-1": [
                    line(
                        "[a0 n1] waiting for node 0 at flowers-worker-0:36544 (30 s of 600 s): [Errno -2] Name or service not known"
                    )
                ]
            },
        ),
    )
    yield (
        "met-by-now",
        "it waited and has begun since",
        "running",
        snapshot(
            on,
            *pods,
            logs=logs(
                line("[a0 n0] waiting for node 1 (20 s of 600 s)"),
                line("[a1 n0] attempt 1 begins: 4 ranks on 2 nodes"),
                progress(*ranks),
            ),
        ),
    )
    yield (
        "pause-bus",
        "between two attempts after SIGBUS",
        "shm-full",
        snapshot(
            on,
            *pods,
            logs=logs(
                progress(*ranks, age_s=60),
                line("[a1 n0] the attempt failed: rank 1: killed by signal 7; the next begins in 4 s"),
            ),
        ),
    )
    yield (
        "pause",
        "between two attempts",
        "attempt-pausing",
        snapshot(
            on,
            *pods,
            logs=logs(
                line(
                    "[a1 n0] the attempt failed: node 1 disappeared: connection reset; the next begins in 4 s"
                )
            ),
        ),
    )
    late = job("Created", "Running", replicas=2, start=True, age_s=4000, activeDeadlineSeconds=3600)
    yield (
        "deadline-asleep",
        "the operator has not noticed",
        "deadline-asleep",
        snapshot(late, *pods, logs=logs(progress(*ranks))),
    )
    yield (
        "restarting",
        "a pod was made again",
        "restarting",
        snapshot(
            job("Created", "Restarting: is restarting", replicas=2),
            runs(0),
            waits(index=1, host="g2", age_s=5),
        ),
    )


def situations() -> Iterator[Situation]:
    """Yield all of them."""
    for family in (scheduling, waiting_outside, volumes, images, endings, going_on, other_kinds):
        yield from family()
