"""What the words of a trainer, of Paddle, NCCL, gloo and CUDA mean. Pure.

Sources of the words: kubelet and containerd ("OOMKilled"); Linux errno texts; Paddle 3.3,
paddle/phi/core/memory/allocation/cuda_allocator.cc ("Out of memory error on GPU"); NCCL 2.2x,
src/bootstrap.cc ("no socket interface found"); gloo, gloo/transport/tcp/device.cc ("Unable to find address
for"); CUDA runtime API, cudaError_t; our own trainer and node process (`trainer.protocol.exits`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from launcher.plan.handle import BackendKind
from trainer.protocol.exits import Exit
from trainer.protocol.known_failures import GPU_FAULT, GPU_MEMORY


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A way to fail.

    Attributes:
        code: Of the verdict.
        head: The beginning of its sentence.
        fix: What to do, on a cluster and wherever `fixes` does not say otherwise.
        fixes: What to do on another backend: what mends a cluster's job may not exist there.
        is_vague: Other words, if there are any, say more.
    """

    code: str
    head: str
    fix: str
    fixes: Mapping[BackendKind, str] = field(default_factory=dict)
    is_vague: bool = False

    def fix_on(self, backend: BackendKind) -> str:
        """Return what to do where the job runs; `{job}` stands for its name."""
        return self.fixes.get(backend, self.fix)


_UID = "let the folder belong to the user that pods run as, or set Launch.run_as"
_UID_OF_OUTPUT = (
    f"{_UID}; with a sub_path each job has a folder of its own, which the kubelet makes as root with the "
    "mode of the volume's folder: `chgrp` that one to the group of Launch.run_as (1000) and `chmod 2775` it"
)
_UID_HERE: Mapping[BackendKind, str] = {"local": "let the folder belong to you, or choose another one"}
_KILLED_HERE: Mapping[BackendKind, str] = {
    "local": "lower batch_size or num_workers where memory was short (`dmesg` says so), and submit again"
}
_GO_ON = "then `ftlaunch submit CONFIG --continue {job}`"

PATTERNS: tuple[tuple[str, Failure], ...] = (
    (
        r"OOMKilled|oom-kill|Out of memory: Killed|exceeded its memory limit",
        Failure(
            code="out-of-memory",
            head="a pod used more memory than its limit",
            fix="raise Launch.resources.memory (it counts /dev/shm too), or lower num_workers or batch_size",
            fixes={"local": "lower num_workers or batch_size: the memory of this machine is used up"},
        ),
    ),
    (
        r"killed by signal 7\b|Bus error|SIGBUS|insufficient shared memory|No space left on"
        r" device.{0,80}/dev/shm"
        r"|/dev/shm.{0,80}No space left",
        Failure(
            code="shm-full",
            head="a pod's /dev/shm is full",
            # not fewer readers: their ring is fitted to what is there (trainer/data/ring.py)
            fix="raise Launch.resources.shm, or keep fewer images by loader.cache_size",
            fixes={"local": "enlarge /dev/shm of this machine, or keep fewer images by loader.cache_size"},
        ),
    ),
    (
        GPU_MEMORY,
        Failure(
            code="gpu-memory",
            head="a GPU's memory does not hold the batch",
            fix="lower DataLoader.Train.sampler.batch_size, or train with AMP",
        ),
    ),
    (
        r"driver version is insufficient|forward compatibility was attempted|no CUDA-capable device"
        r"|libcuda\.so|CUDA error\((35|100|803|804)\)|cudaErrorNoDevice|cudaErrorInsufficientDriver"
        r"|NVIDIA-SMI has failed|SYSTEM_DRIVER_MISMATCH|nvidia-container-cli: .*(requirement|initialization)"
        r" error"
        r"|nvidia-container-cli: .*unsatisfied condition",
        Failure(
            code="cuda-driver",
            head="the node's GPU driver is missing, too old for the image, or sees no GPU",
            fix="choose nodes with a newer driver by Launch.node_selector, or an image for an older CUDA",
            fixes={
                "local": "renew the GPU driver of this machine, or train with --gpus 0",
                "docker": "renew the GPU driver of this machine, or train with --gpus 0",
            },
        ),
    ),
    (
        r"no kernel image is available|not compiled with CUDA|installed CPU version PaddlePaddle"
        r"|Cannot use GPU because|cudaErrorNoKernelImageForDevice|mismatched GPU architecture"
        r"|lib(cudnn|cublas|nccl)[^ ]*: cannot open shared object",
        Failure(
            code="cuda-build",
            head="the image's Paddle is not built for this GPU, or for none",
            fix="use an image with paddlepaddle-gpu for these GPUs: Launch.image",
            fixes={
                "local": "install paddlepaddle-gpu for this GPU in this environment, or train with --gpus 0"
            },
        ),
    ),
    (
        GPU_FAULT,
        Failure(
            code="gpu-fault",
            head="a GPU or its link is broken",
            fix=(
                "`ftlaunch submit CONFIG --continue {job}` goes on elsewhere: it keeps off that node, as"
                " Launch.avoid_nodes does; tell whoever keeps the node (kubectl cordon NODE)"
            ),
            fixes={
                "local": "look at `dmesg`, and restart this machine or take that GPU out with --gpus 0,1",
                "docker": "look at `dmesg`, and restart this machine or take that GPU out with --gpus 0,1",
            },
        ),
    ),
    (
        r"no socket interface found|No usable listening interface|Unable to find address for|ifa != nullptr"
        r"|Unable to find interface|[Nn]o interface found",
        Failure(
            code="network-interface",
            head="NCCL or gloo finds no network interface of the name it was given",
            fix=(
                "take NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME out of Launch.env, or name one that pods have"
            ),
        ),
    ),
    (
        # trainer.models: an address, what went wrong, and where else to put the file
        r"https?://\S+: .{0,400}(tried \d+ times|downloads are off|server answered \d|fetches the same file)"
        r"|(put it at|set) .{0,200}Arch\.pretrained",
        Failure(
            code="weights-missing",
            head="pretrained weights are not there and could not be fetched",
            fix=(
                "fetch them where there is internet (`trainer weights fetch ARCH`) and mount their folder by "
                "Launch.weights, or train from scratch: -o Arch.pretrained=False"
            ),
            fixes={"local": "put the file where it says, or train from scratch: -o Arch.pretrained=False"},
        ),
    ),
    (
        # a name that is not found says nothing of the cluster by itself: that of another node must be meant
        r"(node \d|-worker-\d).{0,300}(Name or service not known|failure in name resolution"
        r"|No address associated with hostname|nodename nor servname|\[Errno -[235]\])",
        Failure(
            code="dns-failed",
            head="a node does not find the name of node 0",
            fix="look at the cluster's DNS: kubectl -n kube-system get pods -l k8s-app=kube-dns",
            fixes={
                "local": "look at /etc/hosts and at the name of this machine: `ftlaunch logs {job}`",
                "docker": "look at the network of the containers: `ftlaunch logs {job}`",
            },
        ),
    ),
    (
        r"expected an empty output folder|expected to be the only writer|expected no other writer"
        r"|is being written by|already writes",
        Failure(
            code="output-taken",
            head="the output folder holds another run",
            fix="choose another Global.output_dir, `ftlaunch submit CONFIG --continue JOB`, or --overwrite",
        ),
    ),
    (
        r"No space left on device|Disk quota exceeded|\[Errno (28|122)\]",
        Failure(
            code="output-full",
            head="the volume with the output is full",
            fix="free some or enlarge the claim, then `ftlaunch submit CONFIG --continue {job}`",
            fixes={"local": f"free some space, {_GO_ON}", "docker": f"free some space, {_GO_ON}"},
        ),
    ),
    (
        r"Read-only file system|\[Errno 30\]",
        Failure(
            code="output-read-only",
            head="the output folder is mounted read-only",
            fix="take `read_only: true` off its volume in Launch.volumes, and check the claim's access mode",
            fixes={"local": "choose a Global.output_dir that can be written to"},
        ),
    ),
    (
        r"Permission denied|\[Errno 13\]|Operation not permitted",
        Failure(
            code="output-denied",
            head="the output folder cannot be written by the user that the pods run as",
            fix=_UID_OF_OUTPUT,
            fixes=_UID_HERE,
        ),
    ),
    (
        r"NCCL (WARN|error|failure)|nccl(System|Internal|Remote|UnhandledCuda)Error|ProcessGroupNCCL",
        Failure(
            code="nccl-failed",
            head="NCCL failed",
            fix="submit again with -o Launch.env.NCCL_DEBUG=INFO, and look at `ftlaunch logs {job}`",
        ),
    ),
    (
        r"error in a module of yours",
        Failure(
            code="module-failed",
            head="a Python module of your own failed",
            fix="mend it; `ftlaunch logs {job}`",
        ),
    ),
    (
        r"killed by signal (4|6|8|11)\b|Segmentation fault|SIGSEGV|core dumped",
        Failure(
            code="rank-crashed", head="a rank crashed", fix="look at `ftlaunch logs {job}`", is_vague=True
        ),
    ),
    (
        r"killed by signal (9|15)\b",
        Failure(
            code="rank-killed",
            head="a rank was killed from outside, most likely for memory",
            fix="raise Launch.resources.memory, and look at `ftlaunch events {job}`",
            fixes=_KILLED_HERE,
            is_vague=True,
        ),
    ),
)

DATA_DENIED = Failure(
    code="data-denied",
    head="data cannot be read by the user that the pods run as",
    fix=_UID,
    fixes=_UID_HERE,
)

OF_EXIT: dict[int, Failure] = {
    Exit.INTERNAL: Failure(
        code="trainer-bug", head="the trainer met an error of its own", fix="look at `ftlaunch logs {job}`"
    ),
    Exit.CONFIG: Failure(
        code="config-refused", head="the trainer refuses the config", fix="mend it and submit again"
    ),
    Exit.DATA: Failure(
        code="data-refused",
        head="the trainer refuses the data",
        fix="mend it; `trainer check -c CONFIG --images all` names every bad line and image",
    ),
    Exit.DIVERGED: Failure(
        code="diverged",
        head="the loss is no longer a number",
        fix="lower Optimizer.lr.learning_rate, or lengthen warmup_epoch",
    ),
    Exit.CHECKPOINT: Failure(
        code="output-failed",
        head="a checkpoint or the output folder failed",
        fix="look at the volume behind Global.output_dir",
        fixes={"local": "look at the folder Global.output_dir and at `ftlaunch logs {job}`"},
    ),
    Exit.ATTEMPTS_USED_UP: Failure(
        code="attempts-used-up", head="every attempt failed", fix="look at `ftlaunch logs {job} --attempt 1`"
    ),
    Exit.RENDEZVOUS: Failure(
        code="rendezvous-failed",
        head="the nodes did not find each other",
        fix="look for a NetworkPolicy that keeps pods of one job apart: kubectl get networkpolicies",
        fixes={
            "local": "look at `ftlaunch logs {job}`: a firewall of this machine may cut its own connections",
            "docker": "look at `ftlaunch logs {job}`: the containers may be in networks that do not meet",
        },
    ),
    Exit.HUNG_RANK: Failure(
        code="rank-hung",
        head="a rank stopped making steps",
        fix=(
            "look at that rank's last lines with `ftlaunch logs {job} --rank N`; a slow volume wants a longer"
            " Launch.hang_timeout"
        ),
    ),
    Exit.DEADLINE: Failure(
        code="deadline-passed",
        head="the deadline passed",
        fix="go on with `ftlaunch submit CONFIG --continue {job}` and a longer Launch.deadline",
    ),
    Exit.STOP_IF: Failure(
        code="stop-condition",
        head="what Launch.stop_if names came true; it was saved",
        fix=(
            "look at where its time goes with `ftlaunch status {job}`, then go on with"
            " `ftlaunch submit CONFIG --continue {job}`, or change Launch.stop_if"
        ),
    ),
    Exit.INTERRUPTED: Failure(
        code="stopped", head="it was interrupted", fix="`ftlaunch submit CONFIG --continue {job}`"
    ),
    Exit.STOPPED: Failure(
        code="stopped",
        head="it was told to stop, and did not come back",
        fix="`ftlaunch submit CONFIG --continue {job}`",
    ),
    137: Failure(
        code="rank-killed",
        head="a pod was killed from outside, most likely for memory",
        fix="raise Launch.resources.memory, and look at `ftlaunch events {job}`",
        fixes=_KILLED_HERE,
    ),
    127: Failure(
        code="program-missing",
        head="the image does not hold the trainer",
        fix="use a trainer image: Launch.image",
        fixes={"local": "install the trainer in the environment that `ftlaunch` runs in"},
    ),
}
UNKNOWN = Failure(
    code="failed", head="it failed for a reason that nobody recorded", fix="look at `ftlaunch logs {job}`"
)


OF_FOREIGN_EXIT = {code: OF_EXIT[code] for code in (127, 137, int(Exit.STOPPED))}
"""What a code means that no node process of ours has given."""


def find_failure(text: str) -> Failure | None:
    """Return what a sentence or a line of a log means, or None."""
    return next((failure for pattern, failure in PATTERNS if re.search(pattern, text, re.IGNORECASE)), None)


def find_most_telling(lines: Iterable[str]) -> tuple[Failure, str] | None:
    """Return the most telling of what lines mean, with the last line that says so, or None."""
    order = [failure for _, failure in PATTERNS]
    found = [(failure, line) for line in lines if (failure := find_failure(line)) is not None]
    return min(reversed(found), key=lambda pair: order.index(pair[0]), default=None)
