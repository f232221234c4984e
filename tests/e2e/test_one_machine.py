from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import REPOSITORY
from trainer.checkpoints.pdfiles import read_arrays

SLOW = {"Global__epochs": 40, "Global__eval_during_train": False, "Global__save_interval": 0}


def relative_difference(one: Path, other: Path) -> float:
    """Largest over all tensors of the norm of the difference to the norm of the tensor."""
    first, second = read_arrays(one), read_arrays(other)
    assert list(first) == list(second)
    return max(
        float(np.linalg.norm(first[key] - second[key]) / max(float(np.linalg.norm(first[key])), 1e-12))
        for key in first
    )


def without_secret(manifest: str) -> str:
    """Return a manifest without what is drawn for each submit, by which the job's nodes know each other."""
    rest, count = re.subn(r',\n *"secret": "[0-9a-f]{64}"', "", manifest)
    assert count == 1
    return rest


def test_what_render_prints_is_what_the_local_backend_interprets(place, write_config):
    cfg = write_config()
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--name", "same", "--nodes", "2", "--wait")
    run_folder = place.folder / "state" / "runs" / "same"
    run_id = place.status("same")["run_id"]
    rendered = place.run(
        "ftlaunch", "render", cfg, "--on", "local", "--name", "same", "--nodes", "2", "--run-id", run_id
    )
    assert without_secret((run_folder / "manifest.yaml").read_text()) == rendered.stdout


def test_two_nodes_of_two_ranks_end_with_the_weights_of_one_process(place, write_config):
    # Slowly, so that the statistics that are frozen afterwards fit the weights: else rounding grows fast.
    slowly = {"name": "Cosine", "learning_rate": 0.01, "warmup_epoch": 1}
    base = write_config("base.yaml", Global__output_dir="base", Global__epochs=12, Optimizer__lr=slowly)
    place.run("trainer", "train", "-c", base)
    # Fine-tuning with frozen batch norm: the statistics of a quarter of the batch would be others.
    tuned = {
        "Arch__freeze_norm_stats": True, "Arch__pretrained": "base/latest",
        "Optimizer__lr": {"name": "Cosine", "learning_rate": 0.0003},
    }  # fmt: skip
    one = write_config("one.yaml", Global__output_dir="one", **tuned)
    four = write_config("four.yaml", Global__output_dir="four", **tuned)
    place.run("trainer", "train", "-c", one)
    place.run(
        "ftlaunch", "submit", four, "--on", "local", "--nodes", "2", "--procs-per-node", "2", "--wait",
        "-o", "DataLoader.Train.sampler.batch_size=4",
    )  # fmt: skip
    ends = [place.folder / name / "latest.pdparams" for name in ("base", "one", "four")]
    assert relative_difference(ends[0], ends[1]) > 1e-2  # it has moved by ten thousand times as much
    assert relative_difference(ends[1], ends[2]) < 1e-6
    steps = {name: [row for row in place.rows(name) if row["event"] == "step"] for name in ("one", "four")}
    assert len(steps["one"]) == 8
    for first, second in zip(steps["one"], steps["four"], strict=True):
        assert first["samples"] == second["samples"] == 16
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-5)
        assert first["top1"] == pytest.approx(second["top1"])
    last = {name: [row for row in place.rows(name) if row["event"] == "eval"][-1] for name in steps}
    assert last["one"]["loss"] == pytest.approx(last["four"]["loss"], rel=1e-5)


def test_the_quick_start_trains_as_four_ranks_that_all_speak(place):
    place.run("python", str(REPOSITORY / "examples/digits.py"), "images", ".quickstart/digits")
    place.run("trainer", "make-lists", ".quickstart/digits")
    asked = (str(REPOSITORY / "examples/quickstart.yaml"), "--gpus", "2", "--nodes", "2", "--on", "local",
             "-o", "Global.epochs=1", "-o", "Global.iter_per_epoch=2")  # fmt: skip
    place.run("ftlaunch", "submit", *asked, "--name", "digits", "--wait")
    status = place.status()
    assert status["state"] == "Succeeded"
    rendered = place.run("ftlaunch", "render", *asked, "--name", "digits", "--run-id", status["run_id"])
    submitted = (place.folder / "state/runs/digits/manifest.yaml").read_text()
    assert without_secret(submitted) == rendered.stdout
    said = {line.split("]")[0] + "]" for line in place.run("ftlaunch", "logs").stdout.splitlines()}
    assert {f"[rank {rank}]" for rank in range(4)} <= said
    (last,) = [row for row in place.rows(".quickstart/output/quickstart") if row["event"] == "eval"]
    assert last["step"] == 2


def test_the_job_outlives_the_command_that_submitted_it(place, write_config):
    following = place.begin(
        "ftlaunch", "submit", write_config(**SLOW), "--on", "local", "--nodes", "2", "--follow"
    )
    place.wait_for(lambda: len(place.rows()) > 2, what="training to begin")
    os.killpg(following.pid, signal.SIGKILL)
    following.communicate()
    assert place.status()["state"] == "Running"
    assert place.run("ftlaunch", "wait", "--timeout", "150s").returncode == 0
    status = place.status()
    assert status["state"] == "Succeeded"
    logs = place.run("ftlaunch", "logs").stdout
    assert "[rank 0]" in logs
    assert "[rank 1]" in logs or "[node 1]" in logs
    assert logs.count("trained to step 80") == 1
    assert "ftlaunch-progress" not in logs


def test_a_cancelled_job_saves_and_says_so(place, write_config):
    place.run("ftlaunch", "submit", write_config(**SLOW), "--on", "local")
    place.wait_for(lambda: len(place.rows()) > 4, what="training to begin")
    place.run("ftlaunch", "cancel")
    assert place.run("ftlaunch", "wait", "--timeout", "60s", code=6).returncode == 6
    assert place.status()["state"] == "Cancelled"
    reached = max(row["step"] for row in place.rows() if row["event"] == "step")
    assert (
        (place.folder / "output/.ftlaunch/checkpoints/latest").read_text().strip().endswith(f"s{reached:06d}")
    )


def test_a_cancelled_job_is_resumed_and_another_goes_on_from_its_output(place, write_config):
    cfg = write_config(Global__epochs=6, Global__save_interval=0, Global__eval_during_train=False)
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--name", "first", "-o", "Global.epochs=40")
    place.wait_for(lambda: len(place.rows()) > 4, what="training to begin")
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    stopped = max(row["step"] for row in place.rows() if row["event"] == "step")
    place.run("ftlaunch", "resume")
    place.wait_for(lambda: len({row["attempt"] for row in place.rows()}) == 2, what="it to go on")
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    again = [row["step"] for row in place.rows() if row["event"] == "step" and row["attempt"] == 2]
    assert again[0] == stopped + 1
    last = again[-1]
    place.run(
        "ftlaunch", "submit", cfg, "--on", "local", "--name", "second", "--continue", "first", "--nodes", "2",
        "-o", "Global.epochs=50", "-o", "Global.iter_per_epoch=1", "--wait",
    )  # fmt: skip
    rows = [row for row in place.rows() if row["event"] == "step" and row["attempt"] == 3]
    assert rows[0]["step"] == last + 1
    assert place.status("second")["state"] == "Succeeded"


def test_a_job_goes_on_in_the_folder_that_another_had_to_itself(place, write_config):
    volumes = [{"mount": "/runs", "claim": "runs", "local": "runs", "sub_path": "{job}"}]
    cfg = write_config(Launch__volumes=volumes, Global__output_dir="/runs/out", Global__epochs=1)
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--name", "first", "--wait")
    steps = [row["step"] for row in place.rows("runs/first/out") if row["event"] == "step"]
    place.run(
        "ftlaunch", "submit", cfg, "--on", "local", "--name", "second", "--continue", "first", "--wait",
        "-o", "Global.epochs=2",
    )  # fmt: skip
    both = [row["step"] for row in place.rows("runs/first/out") if row["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert both == list(range(1, 2 * len(steps) + 1))
    assert not (place.folder / "runs/second").exists()


@pytest.mark.parametrize("victim", ["node", "rank"])
def test_a_killed_process_costs_nothing_but_time(place, write_config, victim):
    whole = write_config("whole.yaml", Global__output_dir="whole", Global__epochs=6)
    broken = write_config("broken.yaml", Global__output_dir="broken", Global__epochs=6)
    place.run("ftlaunch", "submit", whole, "--on", "local", "--nodes", "2", "--wait")
    place.run("ftlaunch", "submit", broken, "--on", "local", "--nodes", "2", "--name", "broken")
    place.wait_for(
        lambda: any(row["event"] == "checkpoint" for row in place.rows("broken")), what="a checkpoint"
    )
    pattern = "trainer.node" if victim == "node" else "-m trainer train"
    pid = next(pid for pid in processes(pattern, env=f"FTLAUNCH_STATE={place.folder}/state") if pid)
    os.kill(pid, signal.SIGKILL)
    place.run("ftlaunch", "wait", "broken", "--timeout", "150s")
    starts = {row["attempt"] for row in place.rows("broken")}
    assert starts == {1, 2}
    assert (
        relative_difference(place.folder / "whole/latest.pdparams", place.folder / "broken/latest.pdparams")
        == 0
    )


def processes(pattern: str, *, env: str) -> list[int]:
    """Find processes by command line; only those of this test's own place."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            cwd = (path / "cwd").readlink()
        except (OSError, ValueError):
            continue
        if (
            pattern in command
            and "parent_death_signal" not in command
            and str(cwd) == env.partition("=")[2].removesuffix("/state")
        ):
            found.append(int(path.name))
    return sorted(found)


def test_absolute_paths_of_this_machine_are_what_they_say(place, write_config):
    (place.folder / "trainer").mkdir()  # a folder of the user's that is called as our package
    (place.folder / "trainer" / "__init__.py").write_text("raise ImportError('not this one')")
    cfg = write_config(Global__epochs=1, Global__output_dir=str(place.folder / "absolute"))
    safe = sys.version_info >= (3, 11)
    if not safe:  # where Python has no PYTHONSAFEPATH yet, such a folder is found first
        shutil.rmtree(place.folder / "trainer")
    place.env["PYTHONSAFEPATH"] = "1"
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--wait")
    assert (place.folder / "absolute/latest.pdparams").exists()


def test_a_failing_job_fails_with_the_trainers_sentence(place, write_config):
    cfg = write_config(Global__epochs=1, Optimizer__lr={"name": "Constant", "learning_rate": 1e30})
    place.run("ftlaunch", "submit", cfg, "--on", "local")
    assert place.run("ftlaunch", "wait", "--timeout", "90s", code=5).returncode == 5
    assert place.run("ftlaunch", "wait", "--propagate", code=4).returncode == 4
    assert "expected a finite loss" in place.run("ftlaunch", "status").stdout


def test_a_full_output_folder_is_refused_and_the_cures_work(place, write_config):
    cfg = write_config(Global__epochs=1)
    place.run("trainer", "train", "-c", cfg)
    refused = place.run("trainer", "train", "-c", cfg, code=2)
    assert "expected an empty output folder" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert "Traceback" not in refused.stderr
    place.run("trainer", "train", "-c", cfg, "--resume", "latest", "-o", "Global.epochs=2")
    assert {row["epoch"] for row in place.rows() if row["event"] == "epoch"} == {1, 2}
    place.run("trainer", "train", "-c", cfg, "--overwrite")


def test_an_interrupted_trainer_goes_on_bit_for_bit(place, write_config):
    ops = {"Global__deterministic": True, "Global__epochs": 4, "Arch__dropout_prob": 0.2}
    place.run("trainer", "train", "-c", write_config("whole.yaml", Global__output_dir="whole", **ops))
    cfg = write_config("halves.yaml", Global__output_dir="halves", **ops)
    process = place.begin("trainer", "train", "-c", cfg)
    place.wait_for(
        lambda: len([r for r in place.rows("halves") if r["event"] == "step"]) > 5, what="five steps"
    )
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    place.run("trainer", "train", "-c", cfg, "--resume", "latest")
    assert (
        relative_difference(place.folder / "whole/latest.pdparams", place.folder / "halves/latest.pdparams")
        == 0
    )
    losses = {}
    for row in place.rows("halves"):
        if row["event"] == "step":
            losses[row["step"]] = row["loss"]
    assert [losses[row["step"]] for row in place.rows("whole") if row["event"] == "step"] == list(
        losses.values()
    )
