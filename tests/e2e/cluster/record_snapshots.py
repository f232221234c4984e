"""Records the corpus of `ftlaunch why` from real situations: `pytest tests/e2e/cluster/record_snapshots.py`.

Not a part of the suite: it writes tests/launcher/why/corpus/recorded-*.json anew, those of gangs as *-gang.json.
Each situation is made on the cluster, looked at until the rules say what they must say of it, and kept as it was
then; a rule that never says so fails its recording. Made by hand is only what no cluster can be brought into
politely.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.backends.kubernetes.gangs import in_group
from launcher.kinds.base import JobKind
from launcher.kinds.registry import PADDLE_JOB, find_kind
from launcher.kube.client import connect
from launcher.plan.handle import Handle
from launcher.why.explain import explain
from launcher.why.gather import gather
from launcher.why.snapshot import Snapshot, format_snapshot
from tests.e2e.cluster.access import Cluster
from tests.e2e.cluster.kueue import VERSION, Kueue
from tests.e2e.cluster.seats import Seats
from tests.e2e.cluster.space import Space
from tests.e2e.cluster.test_gang import put_pod
from tests.launcher.why.write_corpus import CORPUS, prune, write

Item = dict[str, Any]
Edit = Callable[[Item, Item], None]
"""Changes a job, and the spec of its pods."""
LONG = {"Global__epochs": 4000, "Global__eval_during_train": False, "Global__save_interval": 0}
POOL = "ftlaunch-pool"
GPU = "nvidia.com/gpu"


class Recorder:
    """Posts variants of one rendered job, and keeps what becomes of them."""

    def __init__(self, cluster: Cluster, space: Space, manifest: str) -> None:
        self._cluster, self._space = cluster, space
        self._items = [item for item in yaml.safe_load_all(manifest) if item]
        kind = find_kind(self._items[-1])
        assert kind is not None
        self.kind: JobKind = kind
        self._version = json.loads(cluster.kubectl("get", "--raw", "/version"))["gitVersion"]

    def post(self, name: str, edit: Edit | None = None) -> None:
        """Post a variant of the job, as an administrator who may send anything."""
        rendered = self._items[-1]["metadata"]["name"]
        *others, job = (json.loads(json.dumps(item).replace(rendered, name)) for item in self._items)
        if edit is not None:
            edit(job, self.kind.pod_template_of(job, others)["spec"])
        for item in (*others, job):  # one by one: a webhook wants to see those before
            self._cluster.apply(item, namespace=self._space.name)

    def keep(
        self,
        name: str,
        code: str,
        what: str,
        *,
        job: str | None = None,
        within_s: float = 60.0,
        as_user: bool = False,
    ) -> None:
        """Look at a job until the rules say `code` of it, and keep that moment.

        Args:
            name: Of the case.
            code: What the rules must say.
            what: The situation, for people.
            job: Its name, where it is not that of the case.
            within_s: How long to look.
            as_user: Look with our least privilege: no nodes, no pods of others.
        """
        kubeconfig = self._space.kubeconfig if as_user else self._cluster.kubeconfig
        client = connect(kubeconfig=kubeconfig, environ={})
        handle = Handle(backend="kubernetes", namespace=self._space.name, job=job or name)
        until_s, got = time.monotonic() + within_s, ""
        while time.monotonic() < until_s:
            snapshot = gather(client, client, handle, kind=self.kind)
            first, *others = explain(snapshot)
            got = f"{first.code}: {first.sentence}"
            if first.code == code:
                document = {
                    "what": what, "recorded": True, "kubernetes": self._version,
                    "expected": {"code": code, "sentence": first.sentence, "fix": first.fix,
                                 "resolves": first.resolves.value, "also": [other.code for other in others]},
                    "snapshot": prune({**format_snapshot(snapshot), "version": self._version}),
                }  # fmt: skip
                _place_of(name, snapshot).write_text(write(document))
                return
            time.sleep(0.5)
        raise AssertionError(f"{name}: expected {code}, got {got}")

    def drop(self, *jobs: str) -> None:
        self._space.kubectl("delete", self.kind.resource.plural, *jobs, "--wait=false")


def _place_of(name: str, snapshot: Snapshot) -> Path:
    """Return where a case is kept; one of a gang does not replace that of the same name without."""
    of_gang = any(map(in_group, snapshot.pods)) and not name.startswith("gang")
    return CORPUS / f"recorded-{name}{'-gang' if of_gang else ''}.json"


@pytest.fixture
def make_recorder(cluster: Cluster, place: Any, write_job: Any, space: Space) -> Callable[..., Recorder]:
    def make(kind: JobKind = PADDLE_JOB, **changes: Any) -> Recorder:
        ask = ("render", write_job(**changes), "--name", "rendered", "--api", kind.name)
        return Recorder(cluster, space, place.run("ftlaunch", *ask).stdout)

    return make


@pytest.fixture
def pool(cluster: Cluster) -> Iterator[None]:
    """Three nodes that nobody runs: two with 8 GPUs, one of them cordoned, one tainted; gone afterwards."""
    amounts = {"cpu": "32", "memory": "256Gi", "pods": "110", GPU: "8"}
    for name, extra in (("gpu-a", {}), ("gpu-b", {}), ("gpu-c", {"unschedulable": True})):
        taints = [{"key": POOL, "value": "only", "effect": "NoSchedule"}]
        node = {
            "apiVersion": "v1", "kind": "Node", "spec": {"taints": taints, **extra},
            "metadata": {"name": f"{POOL}-{name}", "labels": {POOL: "gpu"}},
        }  # fmt: skip
        cluster.apply(node)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "there",
                 "lastHeartbeatTime": "2099-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
        patch = {"status": {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}}
        cluster.kubectl(
            "patch", "node", f"{POOL}-{name}", "--subresource=status", "--type=merge", "-p", json.dumps(patch)
        )
    yield
    cluster.kubectl("delete", "nodes", "-l", POOL, "--wait=false")


def mount(claim: str) -> Edit:
    """Mount another claim at /data."""

    def edit(job: Item, pod: Item) -> None:
        source = next(
            v for v in pod["volumes"] if (v.get("persistentVolumeClaim") or {}).get("claimName") == "data"
        )
        source["persistentVolumeClaim"] = {"claimName": claim}

    return edit


def put(**fields: Any) -> Edit:
    """Set fields of the pods' spec."""
    return lambda _, pod: pod.update(copy.deepcopy(fields))


def paddle(**fields: Any) -> Edit:
    """Set fields of the trainer's container."""
    return lambda _, pod: pod["containers"][0].update(copy.deepcopy(fields))


def ask(**amounts: str) -> Edit:
    named = {GPU if key == "gpu" else key: value for key, value in amounts.items()}
    return paddle(resources={"requests": named, "limits": named})


def mount_secret(name: str, key: str) -> Edit:
    def edit(job: Item, pod: Item) -> None:
        pod["volumes"].append(
            {"name": "extra", "secret": {"secretName": name, "items": [{"key": key, "path": key}]}}
        )
        pod["containers"][0]["volumeMounts"].append(
            {"name": "extra", "mountPath": "/extra", "readOnly": True}
        )

    return edit


def claim(
    name: str, *, modes: tuple[str, ...] = ("ReadWriteMany",), storage_class: str | None = None
) -> Item:
    spec: Item = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def test_claims_and_secrets(cluster: Cluster, space: Space, make_recorder: Any) -> None:
    recorder = make_recorder()
    cluster.apply(claim("classless"), claim("fast", storage_class="fast"), namespace=space.name)
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=other=x")
    for name, edit in (
        ("claim-missing", mount("nothing")), ("claim-classless", mount("classless")), ("claim-class", mount("fast")),
        ("secret-missing", mount_secret("nothing", "token")), ("secret-key", mount_secret("keys", "token")),
    ):  # fmt: skip
        recorder.post(name, edit)
    recorder.keep("claim-missing", "claim-missing", "a claim that does not exist")
    recorder.keep(
        "claim-classless", "claim-class-missing", "a claim without a class where no class is the default"
    )
    recorder.keep("claim-class", "claim-class-missing", "a claim of a class that does not exist")
    recorder.keep("secret-missing", "secret-missing", "a Secret that does not exist")
    recorder.keep("secret-key", "secret-key-missing", "a Secret without the key that is mounted")


def test_images(make_recorder: Any) -> None:
    recorder = make_recorder()
    recorder.post("registry", paddle(image="registry.invalid/nothing:1"))
    recorder.post("never", paddle(image="registry.invalid/nothing:1", imagePullPolicy="Never"))
    recorder.post("name", paddle(image="registry.invalid/UPPER:1"))
    recorder.keep("registry", "registry-unreachable", "a registry whose name does not resolve")
    recorder.keep("never", "image-never-pulled", "an image that the node lacks, and pull policy Never")
    recorder.keep("name", "image-name-invalid", "an image whose name cannot be read")


def test_scheduling(cluster: Cluster, make_recorder: Any) -> None:
    recorder = make_recorder()
    spread = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"training.kubeflow.org/job-name": "apart"}}}
    ]}}  # fmt: skip

    def three(job: Item, pod: Item) -> None:
        job["spec"]["paddleReplicaSpecs"]["Worker"]["replicas"] = 3
        pod["affinity"] = spread

    for name, edit in (
        ("selector", put(nodeSelector={"no": "such"})), ("cpu", ask(cpu="4000")), ("memory", ask(memory="40Ti")),
        ("gpus", ask(gpu="8")), ("scheduler", put(schedulerName="nobody")), ("apart", three),
        ("gate", put(schedulingGates=[{"name": "example.com/hold"}])),
    ):  # fmt: skip
        recorder.post(name, edit)
    recorder.keep("selector", "node-selector", "a label that no node has")
    recorder.keep("cpu", "insufficient-cpu", "more CPUs than any node has")
    recorder.keep("memory", "insufficient-memory", "more memory than any node has")
    recorder.keep("gpus", "gpu-not-offered", "GPUs where no node has any")
    recorder.keep("gate", "scheduling-gated", "a scheduling gate")
    recorder.keep("apart", "pod-affinity", "three pods that must stand apart, on two nodes")
    recorder.keep("scheduler", "scheduler-missing", "a scheduler that does not run")


def test_gpu_nodes(cluster: Cluster, space: Space, make_recorder: Any, pool: None) -> None:
    recorder = make_recorder()
    tolerations = [
        {"key": POOL, "operator": "Exists"},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
    ]

    def on_pool(replicas: int, *, gpus: str = "8", tolerate: bool = True) -> Edit:
        def edit(job: Item, pod: Item) -> None:
            job["spec"]["paddleReplicaSpecs"]["Worker"]["replicas"] = replicas
            ask(gpu=gpus)(job, pod)
            pod["nodeSelector"] = {POOL: "gpu"}
            pod["tolerations"] = tolerations if tolerate else []

        return edit

    for name, edit in (
        ("cordoned", on_pool(3)), ("too-large", on_pool(1, gpus="16")),
        ("tainted", on_pool(1, tolerate=False)),
    ):  # fmt: skip
        recorder.post(name, edit)
    recorder.keep("cordoned", "gang-incomplete", "three nodes of 8 GPUs, one of them cordoned", within_s=20)
    recorder.keep("tainted", "untolerated-taint", "GPU nodes with a taint", within_s=20)
    recorder.keep("too-large", "insufficient-gpu", "16 GPUs a pod where nodes have 8", within_s=20)
    recorder.drop("cordoned")
    recorder.post("ahead", on_pool(2))
    space.kubectl("wait", "--for=condition=PodScheduled", "pod/ahead-worker-1", "--timeout=20s")
    recorder.post("behind", on_pool(1))
    recorder.keep("behind", "insufficient-gpu", "all GPUs in use by another job", within_s=20)
    recorder.post("never", on_pool(4))
    recorder.keep("gpus-never", "insufficient-gpu", "four pods for three nodes", job="never", within_s=20)
    space.kubectl("delete", "paddlejobs", "--all", "--wait=false")
    space.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")


@pytest.mark.usefixtures("gangs")
def test_gangs(cluster: Cluster, space: Space, make_recorder: Any) -> None:
    recorder, seats = make_recorder(), Seats(cluster=cluster, resource="example.com/seat")

    def gang(pods: int, *, each: int = 1) -> Edit:
        def edit(job: Item, pod: Item) -> None:
            job["spec"]["paddleReplicaSpecs"]["Worker"]["replicas"] = pods
            paddle(resources=seats.ask(each))(job, pod)

        return edit

    seats.offer(1, 1)
    try:
        put_pod(space, "holder", **seats.ask())
        recorder.post("pair", gang(2))
        recorder.keep("gang", "gang-incomplete", "a gang of two pods, room for one", job="pair")
        recorder.keep(
            "gang-unseen",
            "gang-incomplete",
            "as its user, who may not look at nodes",
            job="pair",
            as_user=True,
        )
        recorder.post("three", gang(3))
        recorder.keep(
            "gang-never", "insufficient-resource", "a gang of three where two fit ever", job="three"
        )
        recorder.drop("three")
        space.kubectl("delete", "pod", "holder")
        recorder.keep("gang-ready", "gang-ready", "room for all, not looked at again", job="pair")
        recorder.drop("pair")
        recorder.post("rival-a", gang(2))
        recorder.post("rival-b", gang(2))
        space.kubectl("wait", "--for=condition=PodScheduled", "pod/rival-a-worker-1", "--timeout=60s")
        recorder.keep(
            "gang-rival", "insufficient-resource", "a gang behind another that took all", job="rival-b"
        )
        recorder.keep(
            "gang-rival-unseen", "insufficient-resource", "likewise, as its user", job="rival-b", as_user=True
        )
        recorder.post("alone", gang(1))
        recorder.keep("gang-alone", "insufficient-resource", "a gang of one pod, no room", job="alone")
        recorder.drop("rival-b", "rival-a")
        recorder.keep("gang-alone-ready", "gang-ready", "room for it, not looked at again", job="alone")
        recorder.drop("alone")
        seats.offer(3, 3)
        put_pod(space, "two", **seats.ask(2))
        recorder.post("scattered", gang(2, each=2))
        recorder.keep("gang-scattered", "gang-incomplete", "enough in all, not on each node", job="scattered")
    finally:
        space.kubectl("delete", "paddlejobs", "--all")
        seats.withdraw()


def test_admission(cluster: Cluster, space: Space, make_recorder: Any) -> None:
    recorder = make_recorder()

    def limit(kind: str, spec: Item) -> None:
        cluster.apply(
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": "team"}, "spec": spec},
            namespace=space.name,
        )

    def lift(kind: str) -> None:
        space.kubectl("delete", kind, "team")

    for name, edit, code, what in (
        (
            "account",
            put(serviceAccountName="nobody"),
            "service-account-missing",
            "a service account that does not exist",
        ),
        (
            "priority",
            put(priorityClassName="urgent"),
            "priority-class-missing",
            "a priority class that does not exist",
        ),
        ("root", put(hostNetwork=True), "pod-security", "the host's network at level restricted"),
    ):
        recorder.post(name, edit)
        recorder.keep(name, code, what)
    for name, kind, spec, edit, code, what in (
        ("quota-never", "ResourceQuota", {"hard": {"pods": "1"}}, None, "quota-never", "two pods where one is allowed"),
        ("quota-requests", "ResourceQuota", {"hard": {"limits.cpu": "8"}}, None, "quota-needs-requests", "a quota of CPUs for a job that states none"),
        ("limits", "LimitRange", {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}, ask(memory="4Gi"), "limit-range", "more memory than a limit range allows"),
    ):  # fmt: skip
        limit(kind, spec)
        recorder.post(name, edit)
        recorder.keep(name, code, what)
        recorder.drop(name)
        lift(kind)
    limit("ResourceQuota", {"hard": {"requests.cpu": "200m"}})
    hold = put(schedulingGates=[{"name": "example.com/hold"}])

    def small(job: Item, pod: Item) -> None:
        ask(cpu="100m")(job, pod)
        hold(job, pod)

    recorder.post("holds", small)
    recorder.keep("holds", "scheduling-gated", "holds the quota")
    recorder.post("quota-used", small)
    recorder.keep("quota-used", "quota-exceeded", "a quota that another job uses up")
    (CORPUS / "recorded-holds.json").unlink()


def test_containers(cluster: Cluster, space: Space, make_recorder: Any) -> None:
    space.kubectl(
        "label", "namespace", space.name, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"
    )
    recorder = make_recorder()

    def host_path(job: Item, pod: Item) -> None:
        pod["volumes"].append({"name": "extra", "hostPath": {"path": "/no/such/folder", "type": "Directory"}})
        pod["containers"][0]["volumeMounts"].append({"name": "extra", "mountPath": "/extra"})

    def root(job: Item, pod: Item) -> None:
        pod["securityContext"] = {"runAsNonRoot": True}

    def loop(job: Item, pod: Item) -> None:
        job["spec"]["paddleReplicaSpecs"]["Worker"].update(restartPolicy="OnFailure", replicas=1)
        pod["containers"][0]["command"] = ["python", "-c", "raise SystemExit(7)"]

    def writes(job: Item, pod: Item) -> None:
        job["spec"]["paddleReplicaSpecs"]["Worker"].update(restartPolicy="Never", replicas=1)
        next(volume for volume in pod["volumes"] if volume["name"] == "tmp")["emptyDir"] = {
            "sizeLimit": "1Mi"
        }
        code = "import time; open('/tmp/x', 'wb').write(b'0' * 2**23); time.sleep(300)"
        pod["containers"][0]["command"] = ["python", "-c", code]

    def foreign(job: Item, pod: Item) -> None:
        job["spec"]["paddleReplicaSpecs"]["Worker"]["replicas"] = 1
        pod["containers"][0]["command"] = ["python", "-c", "raise SystemExit('no words of ours')"]

    def ports(job: Item, pod: Item) -> None:
        job["spec"]["paddleReplicaSpecs"]["Worker"]["replicas"] = 3
        pod["containers"][0]["ports"][0]["hostPort"] = 36543
        pod["containers"][0]["command"] = ["python", "-c", "import time; time.sleep(300)"]

    for name, edit in (
        ("folder", host_path), ("as-root", root), ("looping", loop), ("disk", writes), ("foreign", foreign),
        ("program", paddle(command=["pythonx"])), ("ports", ports),
    ):  # fmt: skip
        recorder.post(name, edit)
    recorder.keep("folder", "host-path-missing", "a folder that the node does not have")
    recorder.keep("as-root", "runs-as-root", "an image of root under runAsNonRoot")
    recorder.keep("program", "program-missing", "a program that the image does not hold")
    recorder.keep("foreign", "failed", "a program that is not ours, and fails")
    recorder.keep("ports", "host-port", "three pods with one host port, on two nodes")
    recorder.keep("looping", "crash-loop", "a program that ends again and again")
    recorder.keep("disk", "evicted-volume", "more than an emptyDir may hold", within_s=240)


def test_a_run(cluster: Cluster, space: Space, place: Any, write_job: Any, make_recorder: Any) -> None:
    recorder = make_recorder(**LONG)
    recorder.post("long")
    recorder.keep("starting", "running-unheard", "all pods run, and no rank has reported", job="long")
    recorder.keep("running", "running", "training on two nodes", job="long", within_s=240)
    space.kubectl("delete", "pod", "long-worker-1", "--wait=false")
    recorder.keep("again", "restarting", "a pod that was deleted is made again", job="long")
    patch = {
        "metadata": {"annotations": {"ftlaunch.io/cancelled": "true"}},
        "spec": {"runPolicy": {"suspend": True}},
    }
    space.kubectl("patch", "paddlejob", "long", "--type=merge", "-p", json.dumps(patch))
    recorder.keep("cancelling", "cancelling", "pods save and stop", job="long")
    recorder.keep("cancelled", "cancelled", "saved and stopped", job="long", within_s=90)
    plain = {"metadata": {"annotations": {"ftlaunch.io/cancelled": None}}}
    space.kubectl("patch", "paddlejob", "long", "--type=merge", "-p", json.dumps(plain))
    recorder.keep("suspended", "suspended", "suspended by somebody else", job="long")
    recorder.post(
        "mute", lambda job, _: job["spec"]["runPolicy"].update(managedBy="kueue.x-k8s.io/multikueue")
    )
    recorder.keep("mute", "no-controller", "a job that no operator looks at")


def test_endings(cluster: Cluster, space: Space, make_recorder: Any) -> None:
    rate = {"name": "Constant", "learning_rate": 1e30}
    recorder = make_recorder(
        Global__epochs=1, Optimizer__lr=rate, Launch__nodes=1, Global__output_dir="/output/rate"
    )
    recorder.post("rate")
    recorder.keep("rate", "diverged", "a learning rate that no loss survives", within_s=240)
    recorder = make_recorder(Global__epochs=1, Global__output_dir="/output/rate", Launch__nodes=1)
    recorder.post("taken")
    recorder.keep("taken", "output-taken", "the output folder of another run", within_s=240)
    folder = space.output / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    recorder = make_recorder(Global__epochs=1, Global__output_dir="/output/closed", Launch__nodes=1)
    recorder.post("closed")
    recorder.keep("closed", "output-denied", "an output folder that is root's", within_s=240)
    (space.data / "train_list.txt").chmod(0o600)
    recorder = make_recorder(Global__epochs=1, Global__output_dir="/output/lists", Launch__nodes=1)
    recorder.post("lists")
    recorder.keep("lists", "data-denied", "a list that only root may read", within_s=240)
    (space.data / "train_list.txt").chmod(0o644)
    with (space.data / "train_list.txt").open("a") as file:
        file.write("train/class0/none.jpg 99\n")
    recorder = make_recorder(Global__epochs=1, Global__output_dir="/output/labels", Launch__nodes=1)
    recorder.post("labels")
    recorder.keep("labels", "data-refused", "a label that is too large", within_s=240)


def test_short_of_memory_and_time(cluster: Cluster, space: Space, make_recorder: Any) -> None:
    numbers = {"NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.25] * 3, "order": ""}}
    large = [{"DecodeImage": {"to_rgb": True}}, {"ResizeImage": {"size": 4096}}, numbers]
    recorder = make_recorder(
        Launch__resources={"memory": "900Mi", "shm": "64Mi"}, Launch__max_restarts=1, Launch__nodes=1,
        DataLoader__Train__dataset__transform_ops=large, Global__output_dir="/output/memory",
    )  # fmt: skip
    recorder.post("memory-killed")
    recorder = make_recorder(
        **LONG, Launch__deadline="20s", Launch__nodes=1, Global__output_dir="/output/late"
    )
    recorder.post("late")
    recorder = make_recorder(Global__epochs=1, Launch__nodes=1, Global__output_dir="/output/good")
    recorder.post("good")
    recorder.keep("good", "succeeded", "a run that is done", within_s=240)
    recorder = make_recorder(**LONG, Launch__nodes=1, Global__output_dir="/output/asleep")
    recorder.post("asleep", lambda job, _: job["spec"]["runPolicy"].update(activeDeadlineSeconds=5))
    recorder.keep("asleep", "deadline-asleep", "an activeDeadlineSeconds that passed unnoticed", within_s=60)
    recorder.keep("late", "deadline-passed", "Launch.deadline", within_s=240)
    recorder.keep("memory-killed", "out-of-memory", "a limit of memory that is too low", within_s=240)


def test_queues(cluster: Cluster, space: Space, make_recorder: Any, kueue: Kueue) -> None:
    name, size = space.name, {"cpu": "100m", "memory": "700Mi"}
    kueue.adopt(name)
    kueue.add_flavor("spot")
    kueue.add_priority("urgent", 1000)
    kueue.add_queue("team-a", namespace=name, cpu="300m", flavor="spot")
    kueue.add_queue("small", namespace=name, cpu="100m", flavor="spot")
    kueue.add_queue("flavorless", namespace=name, cpu="1", flavor="nothing")
    kueue.add_queue("stopped", namespace=name, cpu="1", flavor="spot", stopPolicy="Hold")
    kueue.add_queue("closing", namespace=name, cpu="1", flavor="spot")
    kueue.add_queue("checked", namespace=name, cpu="1", flavor="spot",
                    admissionChecksStrategy={"admissionChecks": [{"name": f"{name}-budget"}]})  # fmt: skip
    kueue.add_local_queue("orphan", namespace=name, cluster_queue="nowhere")
    kueue.add_local_queue("held", namespace=name, cluster_queue=f"{name}-team-a", stopPolicy="Hold")
    check = {"apiVersion": VERSION, "kind": "AdmissionCheck", "metadata": {"name": f"{name}-budget"}}
    cluster.apply({**check, "spec": {"controllerName": "example.com/budget"}})
    ready = {"type": "Active", "status": "True", "reason": "Active", "message": "there",
             "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    cluster.kubectl("patch", "admissioncheck", f"{name}-budget", "--subresource=status", "--type=merge",
                    "-p", json.dumps({"status": {"conditions": [ready]}}))  # fmt: skip
    recorder = make_recorder(**LONG, Launch__resources=size, Launch__volumes=sub_folders())

    def of(queue: str, **labels: str) -> Edit:
        more = {"kueue.x-k8s.io/queue-name": queue, **{f"kueue.x-k8s.io/{k}": v for k, v in labels.items()}}
        return lambda job, _: job["metadata"]["labels"].update(more)

    for queue, code, what in (
        ("nosuch", "queue-missing", "a LocalQueue that does not exist"),
        ("orphan", "queue-missing", "a LocalQueue whose ClusterQueue does not exist"),
        ("held", "queue-inactive", "a LocalQueue that is stopped"),
        ("stopped", "queue-inactive", "a ClusterQueue that is stopped"),
        ("flavorless", "queue-inactive", "a ClusterQueue of a flavour that does not exist"),
        ("small", "queue-never", "a ClusterQueue that is smaller than the job"),
        ("checked", "queue-checks", "an admission check that nobody has done"),
    ):
        recorder.post(f"kueue-{queue}", of(queue))
        recorder.keep(f"kueue-{queue}", code, what)
    recorder.post("first", of("team-a"))
    recorder.keep("kueue-admitted", "running", "a job that Kueue has let in", job="first", within_s=240)
    recorder.post("second", of("team-a"))
    recorder.post("third", of("team-a"))
    recorder.keep("kueue-second", "queue-waiting", "the first of two that wait", job="second")
    recorder.keep("kueue-third", "queue-waiting", "the second of two that wait", job="third")
    recorder.post("vip", of("team-a", **{"priority-class": "urgent"}))
    recorder.keep("kueue-stopping", "queue-stopping", "Kueue stops it for another", job="first")
    recorder.keep("kueue-preempted", "queue-preempted", "preempted by a higher priority", job="first")
    recorder.drop("second", "third", "vip")
    recorder.keep("kueue-again", "running", "let in again after it was preempted", job="first", within_s=240)
    workload = next(
        item["metadata"]["name"] for item in space.get("workloads")["items"]
        if item["metadata"]["ownerReferences"][0]["name"] == "first"
    )  # fmt: skip
    off = json.dumps({"spec": {"active": False}})
    space.kubectl("patch", "workload", workload, "--type=merge", "-p", off)
    recorder.keep("kueue-deactivated", "queue-deactivated", "somebody deactivates its Workload", job="first")
    recorder.post("closing", of("closing"))
    recorder.keep("kueue-begun", "running-unheard", "let in, and begun", job="closing")
    drain = json.dumps({"spec": {"stopPolicy": "HoldAndDrain"}})
    space.kubectl("patch", "localqueue", "closing", "--type=merge", "-p", drain)
    recorder.keep("kueue-drained", "queue-inactive", "its LocalQueue is stopped and emptied", job="closing")
    held = {"runPolicy": {"suspend": True}}
    recorder.post("bare", lambda job, _: job["spec"].update(held))
    recorder.keep("kueue-unnamed", "queue-unnamed", "held since it was sent, and in no queue", job="bare")


def test_topologies(cluster: Cluster, space: Space, make_recorder: Any, kueue: Kueue) -> None:
    kueue.adopt(space.name)
    kueue.add_flavor("plain")
    kueue.add_placing_flavor("racks", "kubernetes.io/hostname")
    for name in ("racks", "plain"):
        kueue.add_queue(name, namespace=space.name, cpu="40", flavor=name)
    cpus = min(int(item["status"]["allocatable"]["cpu"]) for item in cluster.get("nodes")["items"])
    wish = {
        "Launch__topology_key": "kubernetes.io/hostname",
        "Launch__resources": {"cpu": f"{cpus * 600}m", "memory": "700Mi"},
    }
    recorder = make_recorder(**wish, Launch__queue={"kueue": "racks", "topology": "required"})
    recorder.post("kueue-scattered")
    recorder.keep("kueue-scattered", "queue-topology", "no node that two pods share, which must")
    recorder = make_recorder(**wish, Launch__queue={"kueue": "plain", "topology": "required"})
    recorder.post("kueue-flat")
    recorder.keep("kueue-flat", "queue-never", "a flavour without the topology that is asked for")


def test_pods_that_do_not_get_ready_in_time(space: Space, make_recorder: Any, kueue: Kueue) -> None:
    again = {"timestamp": "Eviction", "backoffLimitCount": 1, "backoffBaseSeconds": 10}
    kueue.install(waitForPodsReady={"timeout": "5s", "blockAdmission": False, "requeuingStrategy": again})
    try:
        kueue.adopt(space.name)
        kueue.add_flavor("spot")
        kueue.add_queue("team-a", namespace=space.name, cpu="300m", flavor="spot")
        recorder = make_recorder(Launch__resources={"cpu": "100m", "memory": "700Mi"})

        def edit(job: Item, pod: Item) -> None:
            job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team-a"
            pod["nodeSelector"] = {"no": "such"}

        recorder.post("late", edit)
        recorder.keep("kueue-evicted", "queue-evicted", "its pods were not ready in time", job="late")
        recorder.keep(
            "kueue-given-up",
            "queue-deactivated",
            "not ready in time once too often",
            job="late",
            within_s=120,
        )
    finally:
        kueue.install()


def test_a_namespace_that_kueue_does_not_look_after(space: Space, make_recorder: Any, kueue: Kueue) -> None:
    def edit(job: Item, _: Item) -> None:
        job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team-a"
        job["spec"]["runPolicy"]["suspend"] = True

    recorder = make_recorder()
    recorder.post("kueue-unheard", edit)
    recorder.keep("kueue-unheard", "queue-unheard", "a queued job of which Kueue makes no Workload")


def sub_folders() -> list[Item]:
    """Return the claims, with an output folder of its own for each job."""
    return [
        {"mount": "/data", "claim": "data", "read_only": True},
        {"mount": "/output", "claim": "runs", "sub_path": "rendered"},  # the job's name, once it is posted
    ]


def test_an_outage(cluster: Cluster, space: Space, make_recorder: Any, kit: Any) -> None:
    recorder = make_recorder(**LONG)
    recorder.post("pair")
    recorder.keep("before", "running", "before the outage", job="pair", within_s=240)
    host = space.get("pod", "pair-worker-1")["spec"]["nodeName"]
    kit.run("node-cut", host.removeprefix("n"))
    try:
        recorder.keep("node-silent", "node-lost", "a node that is cut off", job="pair", within_s=100)
    finally:
        kit.run("node-cut", host.removeprefix("n"), "heal")
    (CORPUS / "recorded-before.json").unlink()
    assert Path(CORPUS / "recorded-node-silent.json").exists()
