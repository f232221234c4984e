"""A cluster for the tests alone: a folder of scripts that make a real two-node Kubernetes on this machine.

`FTLAUNCH_CLUSTER_KIT` names it. What it must have: `prepare`, `up`, `operator-up`, `jobset-up`,
`trainer2-up`, `kueue-up`, `kueue-down`, `load-image`, `node-cut`, `operator-down`, `down`, and `lib.sh` with
the functions that these share. The variable `KC_GANG` has `up` start a scheduler that knows gangs, and
`operator-up` an operator that makes a gang of every job; `KC_WITH_JOBSET`, `KC_WITH_TRAINER2` and
`KC_WITH_KUEUE` have `prepare` build these controllers.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from launcher.kinds.base import JobKind

PREPARE_S, UP_S = 3000.0, 300.0
KUEUE = "v0.19.2"
BUILT = {"KC_WITH_JOBSET": "1", "KC_WITH_TRAINER2": "1", "KC_WITH_KUEUE": "1", "KC_KUEUE": KUEUE}
"""What `prepare` builds besides: the controllers of JobSets and of Kubeflow Trainer v2, and Kueue."""
GANG_SCHEDULER = "coscheduling"
"""The scheduler has a profile of this name for gangs."""

CONTROLLERS: dict[str, tuple[tuple[str, str], ...]] = {
    "paddlejob": (("training-operator", "operator-up"),),
    "job": (("kube-controller-manager", "up"),),
    "jobset": (("jobset", "jobset-up"),),
    "trainjob": (("jobset", "jobset-up"), ("trainer2", "trainer2-up")),
}
"""By kind of job object: names of the processes that look after it, and the scripts that start them."""


@dataclass(frozen=True)
class Kit:
    """The scripts."""

    folder: Path

    def run(self, script: str, *argv: str, timeout_s: float = UP_S, gangs: bool = False) -> str:
        return _run([str(self.folder / script), *argv], timeout_s=timeout_s, gangs=gangs)

    def function(self, script: str) -> str:
        """Run lines of bash that know the kit's own functions and variables."""
        return _run(["bash", "-c", f'. "{self.folder}/lib.sh"; {script}'], timeout_s=UP_S)

    @property
    def kubeconfig(self) -> Path:
        return Path(self.function("echo $KC_STATE").strip()) / "kubeconfig"

    def prepare(self, cache: Path) -> None:
        """Build what is not built yet; another one that is at it is waited for."""
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "prepare.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.run("prepare", timeout_s=PREPARE_S)

    def is_up(self) -> bool:
        try:
            self.function("kc get --raw /readyz --request-timeout=3s; alive training-operator")
        except AssertionError:
            return False
        return True

    def up(self) -> None:
        self.run("up", gangs=True)
        self.run("operator-up")

    def run_job_controllers(self) -> None:
        """Have JobSets and TrainJobs looked after; they stay as long as the cluster."""
        for name, script in CONTROLLERS["trainjob"]:
            if not self._is_alive(name):
                self._bring_up(script)

    def _is_alive(self, name: str) -> bool:
        return self.function(f"alive {name} && echo yes || true").strip() == "yes"

    def start_kueue(self, config: Path) -> None:
        """Have Kueue run with a configuration of its own, anew where it runs already."""
        self.function("stop kueue")
        self._bring_up("kueue-up", "--config", str(config))  # the last one wins

    def make_gangs(self, of_every_job: bool) -> None:
        """Have the operator make a gang of every job that comes, or of none.

        Not always: a pod that the scheduler meets before its PodGroup waits for up to five minutes.
        """
        self.function("stop training-operator")
        self.run("operator-up", gangs=of_every_job)

    def let_nodes_talk(self) -> None:
        """Let the kit's bridge through: a container engine on this machine forwards nothing of others."""
        rule = "FORWARD -i ${KC_PREFIX}br -o ${KC_PREFIX}br -j ACCEPT"
        self.function(f"iptables -C {rule} 2>/dev/null || iptables -I {rule}")

    def let_pods_run(self) -> None:
        """Let all pods together weigh as four processes of this machine.

        They are below one control group, which would weigh as one: on a busy machine they starved.
        """
        for file, weight in (("cpu.shares", 4096), ("cpu.weight", 400)):  # of cgroup v1 and v2
            group = f"$m/$KC_PREFIX/{file}"
            self.function(f"for m in $CGALL; do [ ! -f {group} ] || echo {weight} > {group}; done")

    def down(self) -> None:
        """Leave nothing: what is kept would have webhooks whose controllers the next run starts late."""
        self.run("operator-down")
        self.run("down", "--purge")
        self.function("iptables -D FORWARD -i ${KC_PREFIX}br -o ${KC_PREFIX}br -j ACCEPT 2>/dev/null || true")

    def stop_controllers(self, kind: JobKind) -> None:
        """End what looks after jobs of a kind, and what makes pods of what that makes."""
        self.function("; ".join(f"stop {name}" for name, _ in CONTROLLERS[kind.name]))

    def start_controllers(self, kind: JobKind) -> None:
        """Begin it again; its webhooks may answer a little later."""
        for _, script in CONTROLLERS[kind.name]:
            self._bring_up(script, gangs=script == "up")

    def _bring_up(self, script: str, *argv: str, gangs: bool = False) -> None:
        """Run a script that may be run again, twice where it has to be.

        It waits for definitions that it has just made, and on a busy machine kubectl fails where one has no
        status yet.
        """
        try:
            self.run(script, *argv, gangs=gangs)
        except AssertionError:
            self.run(script, *argv, gangs=gangs)

    def stop_api_server(self) -> None:
        self.function("stop kube-apiserver")

    def start_api_server(self) -> None:
        self.run("up", gangs=True)  # starts what does not run


def _run(argv: list[str], *, timeout_s: float, gangs: bool = False) -> str:
    environ = {**os.environ, **BUILT, "KC_GANG": GANG_SCHEDULER if gangs else ""}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=environ)
    assert done.returncode == 0, f"{argv[-1]} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
