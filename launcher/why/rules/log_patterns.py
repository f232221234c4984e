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


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A way to fail.

    Attributes:
        code: Of the verdict.
        head: The beginning of its sentence.
        cure: What to do, on a cluster and wherever `cures` does not say otherwise.
        cures: What to do on another backend: what mends a cluster's job may not exist there.
        is_vague: Other words, if there are any, say more.
    """

    code: str
    head: str
    cure: str
    cures: Mapping[BackendKind, str] = field(default_factory=dict)
    is_vague: bool = False

    def cure_on(self, backend: BackendKind) -> str:
        """Return what to do where the job runs; `{job}` stands for its name."""
        return self.cures.get(backend, self.cure)


_UID = "let the folder belong to the user that pods run as, or set Launch.run_as"
_UID_HERE: Mapping[BackendKind, str] = {"local": "let the folder belong to you, or choose another one"}
_KILLED_HERE: Mapping[BackendKind, str] = {
    "local": "lower batch_size or num_workers where memory was short (`dmesg` says so), and submit again"
}
_GO_ON = "then `ftlaunch submit CONFIG --continue {job}`"

PATTERNS: tuple[tuple[str, Fault], ...] = (
    (
        r"OOMKilled|oom-kill|Out of memory: Killed|exceeded its memory limit",
        Fault(
            code="out-of-memory",
            head="a pod used more memory than its limit",
            cure="raise Launch.resources.memory (it counts /dev/shm too), or lower num_workers or batch_size",
            cures={"local": "lower num_workers or batch_size: the memory of this machine is used up"},
        ),
    ),
    (
        r"killed by signal 7\b|Bus error|SIGBUS|insufficient shared memory|No space left on"
        r" device.{0,80}/dev/shm"
        r"|/dev/shm.{0,80}No space left",
        Fault(
            code="shm-full",
            head="a pod's /dev/shm is full",
            cure="raise Launch.resources.shm, or lower num_workers or batch_size",
            cures={"local": "enlarge /dev/shm of this machine, or lower num_workers or batch_size"},
        ),
    ),
    (
        r"Out of memory error on GPU|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory|cudaErrorMemoryAllocation"
        r"|CUBLAS_STATUS_ALLOC_FAILED",
        Fault(
            code="gpu-memory",
            head="a GPU's memory does not hold the batch",
            cure="lower DataLoader.Train.sampler.batch_size, or train with AMP",
        ),
    ),
    (
        r"driver version is insufficient|forward compatibility was attempted|no CUDA-capable device"
        r"|libcuda\.so|CUDA error\((35|100|803|804)\)|cudaErrorNoDevice|cudaErrorInsufficientDriver"
        r"|NVIDIA-SMI has failed|SYSTEM_DRIVER_MISMATCH|nvidia-container-cli: .*(requirement|initialization)"
        r" error"
        r"|nvidia-container-cli: .*unsatisfied condition",
        Fault(
            code="cuda-driver",
            head="the node's GPU driver is missing, too old for the image, or sees no GPU",
            cure="choose nodes with a newer driver by Launch.node_selector, or an image for an older CUDA",
            cures={
                "local": "renew the GPU driver of this machine, or train with --gpus 0",
                "docker": "renew the GPU driver of this machine, or train with --gpus 0",
            },
        ),
    ),
    (
        r"no kernel image is available|not compiled with CUDA|installed CPU version PaddlePaddle"
        r"|Cannot use GPU because|cudaErrorNoKernelImageForDevice|mismatched GPU architecture"
        r"|lib(cudnn|cublas|nccl)[^ ]*: cannot open shared object",
        Fault(
            code="cuda-build",
            head="the image's Paddle is not built for this GPU, or for none",
            cure="use an image with paddlepaddle-gpu for these GPUs: Launch.image",
            cures={
                "local": "install paddlepaddle-gpu for this GPU in this environment, or train with --gpus 0"
            },
        ),
    ),
    (
        r"uncorrectable (ECC|NVLink)|\bXid\b|fallen off the bus|cudaErrorECCUncorrectable|cudaErrorHardware"
        r"|CUDA error\((74|214|719)\)",
        Fault(
            code="gpu-fault",
            head="a GPU or its link is broken",
            cure="cordon the node (kubectl cordon NODE), tell whoever keeps it, and submit again",
            cures={
                "local": "look at `dmesg`, and restart this machine or take that GPU out with --gpus 0,1",
                "docker": "look at `dmesg`, and restart this machine or take that GPU out with --gpus 0,1",
            },
        ),
    ),
    (
        r"no socket interface found|No usable listening interface|Unable to find address for|ifa != nullptr"
        r"|Unable to find interface|[Nn]o interface found",
        Fault(
            code="network-interface",
            head="NCCL or gloo finds no network interface of the name it was given",
            cure=(
                "take NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME out of Launch.env, or name one that pods have"
            ),
        ),
    ),
    (
        # trainer.models: an address, what went wrong, and where else to put the file
        r"https?://\S+: .{0,400}(tried \d+ times|downloads are off|server answered \d|fetches the same file)"
        r"|(put it at|set) .{0,200}Arch\.pretrained",
        Fault(
            code="weights-missing",
            head="pretrained weights are not there and could not be fetched",
            cure=(
                "fetch them where there is internet (`trainer weights fetch ARCH`) and mount their folder by "
                "Launch.weights, or train from scratch: -o Arch.pretrained=False"
            ),
            cures={"local": "put the file where it says, or train from scratch: -o Arch.pretrained=False"},
        ),
    ),
    (
        # a name that is not found says nothing of the cluster by itself: that of another node must be meant
        r"(node \d|-worker-\d).{0,300}(Name or service not known|failure in name resolution"
        r"|No address associated with hostname|nodename nor servname|\[Errno -[235]\])",
        Fault(
            code="dns-failed",
            head="a node does not find the name of node 0",
            cure="look at the cluster's DNS: kubectl -n kube-system get pods -l k8s-app=kube-dns",
            cures={
                "local": "look at /etc/hosts and at the name of this machine: `ftlaunch logs {job}`",
                "docker": "look at the network of the containers: `ftlaunch logs {job}`",
            },
        ),
    ),
    (
        r"expected an empty output folder|expected to be the only writer|expected no other writer"
        r"|is being written by|already writes",
        Fault(
            code="output-taken",
            head="the output folder holds another run",
            cure="choose another Global.output_dir, `ftlaunch submit CONFIG --continue JOB`, or --overwrite",
        ),
    ),
    (
        r"No space left on device|Disk quota exceeded|\[Errno (28|122)\]",
        Fault(
            code="output-full",
            head="the volume with the output is full",
            cure="free some or enlarge the claim, then `ftlaunch submit CONFIG --continue {job}`",
            cures={"local": f"free some space, {_GO_ON}", "docker": f"free some space, {_GO_ON}"},
        ),
    ),
    (
        r"Read-only file system|\[Errno 30\]",
        Fault(
            code="output-read-only",
            head="the output folder is mounted read-only",
            cure="take `read_only: true` off its volume in Launch.volumes, and check the claim's access mode",
            cures={"local": "choose a Global.output_dir that can be written to"},
        ),
    ),
    (
        r"Permission denied|\[Errno 13\]|Operation not permitted",
        Fault(
            code="output-denied",
            head="the output folder cannot be written by the user that the pods run as",
            cure=_UID,
            cures=_UID_HERE,
        ),
    ),
    (
        r"NCCL (WARN|error|failure)|nccl(System|Internal|Remote|UnhandledCuda)Error|ProcessGroupNCCL",
        Fault(
            code="nccl-failed",
            head="NCCL failed",
            cure="submit again with -o Launch.env.NCCL_DEBUG=INFO, and look at `ftlaunch logs {job}`",
        ),
    ),
    (
        r"error in a module of yours",
        Fault(
            code="module-failed",
            head="a Python module of your own failed",
            cure="mend it; `ftlaunch logs {job}`",
        ),
    ),
    (
        r"killed by signal (4|6|8|11)\b|Segmentation fault|SIGSEGV|core dumped",
        Fault(
            code="rank-crashed", head="a rank crashed", cure="look at `ftlaunch logs {job}`", is_vague=True
        ),
    ),
    (
        r"killed by signal (9|15)\b",
        Fault(
            code="rank-killed",
            head="a rank was killed from outside, most likely for memory",
            cure="raise Launch.resources.memory, and look at `ftlaunch events {job}`",
            cures=_KILLED_HERE,
            is_vague=True,
        ),
    ),
)

DATA_DENIED = Fault(
    code="data-denied",
    head="data cannot be read by the user that the pods run as",
    cure=_UID,
    cures=_UID_HERE,
)

OF_EXIT: dict[int, Fault] = {
    Exit.INTERNAL: Fault(
        code="trainer-bug", head="the trainer met an error of its own", cure="look at `ftlaunch logs {job}`"
    ),
    Exit.CONFIG: Fault(
        code="config-refused", head="the trainer refuses the config", cure="mend it and submit again"
    ),
    Exit.DATA: Fault(
        code="data-refused",
        head="the trainer refuses the data",
        cure="mend it; `trainer check -c CONFIG --images all` names every bad line and image",
    ),
    Exit.DIVERGED: Fault(
        code="diverged",
        head="the loss is no longer a number",
        cure="lower Optimizer.lr.learning_rate, or lengthen warmup_epoch",
    ),
    Exit.CHECKPOINT: Fault(
        code="output-failed",
        head="a checkpoint or the output folder failed",
        cure="look at the volume behind Global.output_dir",
        cures={"local": "look at the folder Global.output_dir and at `ftlaunch logs {job}`"},
    ),
    Exit.ATTEMPTS_USED_UP: Fault(
        code="attempts-used-up", head="every attempt failed", cure="look at `ftlaunch logs {job} --attempt 1`"
    ),
    Exit.RENDEZVOUS: Fault(
        code="rendezvous-failed",
        head="the nodes did not find each other",
        cure="look for a NetworkPolicy that keeps pods of one job apart: kubectl get networkpolicies",
        cures={
            "local": "look at `ftlaunch logs {job}`: a firewall of this machine may cut its own connections",
            "docker": "look at `ftlaunch logs {job}`: the containers may be in networks that do not meet",
        },
    ),
    Exit.HUNG_RANK: Fault(
        code="rank-hung",
        head="a rank stopped making steps",
        cure=(
            "look at that rank's last lines with `ftlaunch logs {job} --rank N`; a slow volume wants a longer"
            " Launch.hang_timeout"
        ),
    ),
    Exit.DEADLINE: Fault(
        code="deadline-passed",
        head="the deadline passed",
        cure="go on with `ftlaunch submit CONFIG --continue {job}` and a longer Launch.deadline",
    ),
    Exit.INTERRUPTED: Fault(
        code="stopped", head="it was interrupted", cure="`ftlaunch submit CONFIG --continue {job}`"
    ),
    Exit.STOPPED: Fault(
        code="stopped",
        head="it was told to stop, and did not come back",
        cure="`ftlaunch submit CONFIG --continue {job}`",
    ),
    137: Fault(
        code="rank-killed",
        head="a pod was killed from outside, most likely for memory",
        cure="raise Launch.resources.memory, and look at `ftlaunch events {job}`",
        cures=_KILLED_HERE,
    ),
    127: Fault(
        code="program-missing",
        head="the image does not hold the trainer",
        cure="use a trainer image: Launch.image",
        cures={"local": "install the trainer in the environment that `ftlaunch` runs in"},
    ),
}
UNKNOWN = Fault(
    code="failed", head="it failed for a reason that nobody recorded", cure="look at `ftlaunch logs {job}`"
)


OF_FOREIGN_EXIT = {code: OF_EXIT[code] for code in (127, 137, int(Exit.STOPPED))}
"""What a code means that no node process of ours has given."""


def find_fault(text: str) -> Fault | None:
    """Return what a sentence or a line of a log means, or None."""
    return next((fault for pattern, fault in PATTERNS if re.search(pattern, text, re.IGNORECASE)), None)


def find_most_telling(lines: Iterable[str]) -> tuple[Fault, str] | None:
    """Return the most telling of what lines mean, with the last line that says so, or None."""
    order = [fault for _, fault in PATTERNS]
    found = [(fault, line) for line in lines if (fault := find_fault(line)) is not None]
    return min(reversed(found), key=lambda pair: order.index(pair[0]), default=None)
