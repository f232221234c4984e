"""Records what is said of Jobs, JobSets and TrainJobs: `pytest tests/e2e/cluster/record_kinds.py`.

As `record_snapshots`, which has all that kinds share: here is what differs by kind, or whose words come from
another controller. Writes tests/launcher/why/corpus/recorded-{job,jobset,trainjob}-*.json anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from launcher.kinds.base import JobKind
from launcher.kinds.registry import JOB_SET, PLAIN_JOB, TRAIN_JOB
from tests.e2e.cluster.kit import Kit
from tests.e2e.cluster.kueue import Kueue
from tests.e2e.cluster.record_snapshots import (
    LONG,
    Edit,
    Item,
    Recorder,
    make_recorder,  # noqa: F401 - a fixture
    paddle,
    put,
)
from tests.e2e.cluster.space import Space
from tests.e2e.cluster.test_faults import KILL_RANK
from tests.e2e.cluster.test_kinds import pod_of

ENDS_WITH_143 = "import sys, time; time.sleep(25); sys.exit(143)"
of_kind = pytest.mark.parametrize("kind", [PLAIN_JOB, JOB_SET, TRAIN_JOB], ids=lambda kind: kind.name)
NewRecorder = Callable[..., Recorder]


@pytest.fixture(autouse=True)
def _controllers(controllers: None) -> None:
    """Those of all kinds run."""


def run(code: str) -> Edit:
    return paddle(command=["python", "-c", code])


@of_kind
def test_what_is_held_back(space: Space, make_recorder: NewRecorder, kind: JobKind) -> None:  # noqa: F811
    recorder, name = make_recorder(kind), f"{kind.name}-gate"
    recorder.post(name, put(schedulingGates=[{"name": "example.com/hold"}]))
    recorder.keep(name, "scheduling-gated", "a scheduling gate")
    patch = json.dumps(kind.suspend_patch(suspend=True))
    space.kubectl("patch", kind.resource.plural, name, "--type=merge", "-p", patch)
    recorder.keep(f"{kind.name}-suspended", "suspended", "suspended by somebody else", job=name)
    if kind is TRAIN_JOB:
        gone = "trainjob-runtime-gone"
        recorder.post(gone, put(nodeSelector={"no": "such"}))
        space.kubectl("wait", "--for=create", f"job.batch/{gone}-node-0", "--timeout=30s")
        space.kubectl("delete", "trainingruntime", gone, "--wait=false")
        recorder.keep(gone, "runtime-missing", "the runtime that holds its pods was deleted")
    if kind is not PLAIN_JOB:  # the envelope is taken, and its Job is not

        def edit(job: Item, pod: Item) -> None:
            pod["restartPolicy"] = "Always"

        recorder.post(f"{kind.name}-refused", edit)
        recorder.keep(f"{kind.name}-refused", "job-refused", "what the Job inside may not be")


@of_kind
def test_endings(space: Space, make_recorder: NewRecorder, kind: JobKind) -> None:  # noqa: F811
    recorder, name = make_recorder(kind), f"{kind.name}-policy"
    recorder.post(name, run("raise SystemExit('no words of ours')"))
    recorder.keep(name, "failed", "an exit code that the policy does not retry", within_s=120)
    if kind is JOB_SET:

        def edit(job: Item, pod: Item) -> None:
            job["spec"]["failurePolicy"] = {"maxRestarts": 1}
            pod["containers"][0]["command"] = ["python", "-c", "raise SystemExit('no words of ours')"]

        recorder.post("jobset-restarts", edit)
        recorder.keep("jobset-restarts", "failed", "all restarts of a failurePolicy used up", within_s=120)
    recorder, name = make_recorder(kind, **LONG, Launch__max_restarts=0), f"{kind.name}-killed"
    recorder.post(name)
    recorder.keep(f"{kind.name}-running", "running", "training on two nodes", job=name, within_s=240)
    space.run_in_pod(pod_of(space, kind, name, 1)["metadata"]["name"], KILL_RANK)
    recorder.keep(name, "rank-killed", "a rank was killed, and no restart is left", within_s=120)


@pytest.mark.parametrize("kind", [JOB_SET, TRAIN_JOB], ids=lambda kind: kind.name)
def test_a_webhook_that_is_away(
    space: Space,
    make_recorder: NewRecorder,  # noqa: F811
    kit: Kit,
    kind: JobKind,
) -> None:
    recorder, name = make_recorder(kind), f"{kind.name}-webhook"
    recorder.post(name, run(ENDS_WITH_143))
    running = "--for=jsonpath={.status.phase}=Running"
    space.kubectl("wait", "--for=create", f"job.batch/{name}-node-0", "--timeout=30s")
    space.kubectl("wait", running, "pod", "-l", kind.pod_selector(name), "--timeout=60s")
    kit.stop_controllers(kind)
    try:
        recorder.keep(name, "webhook-unreachable", "JobSet's webhook of pods is away", within_s=120)
    finally:
        kit.start_controllers(kind)


@of_kind
def test_queues(space: Space, make_recorder: NewRecorder, kueue: Kueue, kind: JobKind) -> None:  # noqa: F811
    kueue.adopt(space.name)
    kueue.add_flavor("spot")
    kueue.add_priority("urgent", 1000)
    kueue.add_queue("team-a", namespace=space.name, cpu="300m", flavor="spot")
    kueue.add_queue("small", namespace=space.name, cpu="100m", flavor="spot")
    size, name = {"cpu": "100m", "memory": "700Mi"}, f"{kind.name}-queued"
    recorder = make_recorder(kind, Launch__resources=size)

    def post(job: str, queue: str, **labels: str) -> str:
        more = {f"kueue.x-k8s.io/{key}": value for key, value in {"queue-name": queue, **labels}.items()}

        def edit(posted: Item, pod: Item) -> None:
            posted["metadata"]["labels"].update(more)
            pod["nodeSelector"] = {"no": "such"}

        recorder.post(job, edit)
        return job

    recorder.keep(post(f"{name}-nowhere", "nosuch"), "queue-missing", "a LocalQueue that does not exist")
    recorder.keep(
        post(f"{name}-never", "small"), "queue-never", "a ClusterQueue that is smaller than the job"
    )
    first = post(f"{name}-first", "team-a")
    recorder.keep(first, "node-selector", "let in, and no node takes its pods")
    recorder.keep(post(f"{name}-second", "team-a"), "queue-waiting", "the first of those that wait")
    post(f"{name}-vip", "team-a", **{"priority-class": "urgent"})
    recorder.keep(f"{name}-preempted", "queue-preempted", "preempted by a higher priority", job=first)
    (workload,) = [
        item["metadata"]["name"] for item in space.get("workloads.kueue.x-k8s.io")["items"]
        if item["metadata"]["ownerReferences"][0]["name"] == first
    ]  # fmt: skip
    off = json.dumps({"spec": {"active": False}})
    space.kubectl("patch", "workloads.kueue.x-k8s.io", workload, "--type=merge", "-p", off)
    recorder.keep(f"{name}-off", "queue-deactivated", "somebody deactivates its Workload", job=first)
    recorder.drop(f"{name}-nowhere", f"{name}-never", first, f"{name}-second", f"{name}-vip")
