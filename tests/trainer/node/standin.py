"""Stands in for `python -m trainer`: steps without training, and fails as its plan says.

    standin.py PLAN_JSON

A plan is {steps, step_s, epoch_steps, faults: [{rank, attempt, step, do}], mute, deaf, saves, notes}. A mute
rank never computes, a deaf one ignores the stop step. With `saves` each step is saved; with `notes` a rank
writes which parts of a global batch it has trained on. `attempt` 0 is any; `do` is what happens before that
step: `exit:N`, `fail:N:reason` (exits N and leaves an outcome), `kill`, `hang`, `orphan`. A rank writes its
pid to `pids/` beside the output folder, and steps are kept apart by files as a collective would.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from trainer.protocol.heartbeat import NO_STOP, Heartbeats, Phase, RankRecord
from trainer.protocol.outcome import Outcome, save_outcome

rank = int(os.environ["PADDLE_TRAINER_ID"])
attempt = int(os.environ["FTL_ATTEMPT"])
world = int(os.environ["PADDLE_TRAINERS_NUM"])
plan = json.loads(sys.argv[1])
scratch = Path(plan["scratch"])
heartbeats = Heartbeats.open(Path(os.environ["FTL_HEARTBEATS"]))
local = int(os.environ["PADDLE_RANK_IN_NODE"])
here = scratch / f"attempt{attempt}"
here.mkdir(parents=True, exist_ok=True)


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def publish(step, phase):
    epoch_steps = plan.get("epoch_steps", 1000)
    heartbeats.write(
        local,
        RankRecord(
            step=step, epoch=step // epoch_steps, total_steps=plan["steps"], phase=phase,
            epoch_end=(step // epoch_steps + 1) * epoch_steps, epoch_steps=epoch_steps,
            pid=os.getpid(), t_mono_s=time.monotonic(), loss=1.0 / (step + 1), images_per_s=10.0,
        ),
    )  # fmt: skip


def save(step):
    (scratch / "saved.tmp").write_text(str(step))
    (scratch / "saved.tmp").rename(saved)


def note(step):
    """Write what stands for samples: each part of each step has a number of its own."""
    shards = int(os.environ.get("FTL_SHARDS", world))
    samples = [step * shards + shard for shard in range(rank, shards, world)]
    row = {
        "attempt": attempt,
        "epoch": step // plan.get("epoch_steps", 1000),
        "step": step,
        "samples": samples,
    }
    with (here / f"noted.{rank}").open("a") as file:
        file.write(json.dumps(row) + "\n")


def leave(code, reason, step):
    outcome = Path(os.environ["FTL_OUTCOME"])
    save_outcome(outcome, Outcome(exit=code, reason=reason, step=step, checkpoint=f"ckpt-{step}"))
    sys.stdout.flush()
    os._exit(code)


def meet(step):
    """Wait until every rank of this attempt has got to `step`, as a collective does."""
    (here / f"{step}.{rank}").touch()
    while not all((here / f"{step}.{other}").exists() for other in range(world)):
        time.sleep(0.002)


def suffer(fault, step):
    kind, _, rest = fault.partition(":")
    if kind == "exit":
        sys.stdout.flush()
        os._exit(int(rest))
    if kind == "fail":
        code, _, reason = rest.partition(":")
        leave(int(code), reason, step)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        publish(step, Phase.LOAD)
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "orphan":
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        (here / f"pid.child{rank}").write_text(str(child.pid))


signal.signal(signal.SIGTERM, signal.SIG_IGN)
(here / f"pid.{rank}").write_text(str(os.getpid()))
(here / f"env.{rank}").write_text(json.dumps(dict(os.environ)))
say(f"rank {rank} of {world} begins attempt {attempt} ¡ü")
saved = scratch / "saved"
step = int(saved.read_text()) if saved.exists() else 0
faults = [f for f in plan.get("faults", []) if f["rank"] == rank and f["attempt"] in (attempt, 0)]
for fault in faults:
    if fault["step"] < 0:
        suffer(fault["do"], step)
if plan.get("mute"):
    while True:
        time.sleep(0.1)
publish(step, Phase.LOAD)
while step < plan["steps"]:
    for fault in faults:
        if fault["step"] == step:
            suffer(fault["do"], step)
    publish(step, Phase.COMPUTE)
    meet(step)
    time.sleep(plan.get("step_s", 0.02))
    if plan.get("notes"):
        note(step)
        meet(f"noted{step}")
    step += 1
    if plan.get("saves") and rank == 0:
        save(step)
    say(f"rank {rank} step {step}")
    publish(step, Phase.LOAD)
    stop = heartbeats.stop_step
    if stop != NO_STOP and step >= stop and not plan.get("deaf"):
        meet(f"stop{step}")
        if rank == 0:
            save(step)
        leave(143, "stopped", step)
sys.stdout.write(f"rank {rank} is done, without a newline")
leave(0, "done", step)
