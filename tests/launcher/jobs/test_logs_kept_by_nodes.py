"""`ftlaunch logs` of a cluster's job whose pods are gone, and of which nothing was read here before."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from launcher.backends.kubernetes.backend import KubernetesBackend
from launcher.jobs.saved_end import find_end
from launcher.logs.lines import to_kubelet_form
from launcher.render.render import render
from launcher.runs.store import RunStore
from launcher.volumes.place import Folder, VolumeError
from tests.contract.harness import RUN_ID
from tests.launcher.jobs.test_logs_recorded import Fading, cluster
from trainer.protocol.log_files import LogFileName, short_run

__all__ = ["cluster"]  # the fixture

BEGIN_NS = 1_795_478_400_000_000_000  # 2026-11-24T00:00:00Z, as of the cluster's own lines


def keep(output: Path, node: int, *, life_s: int, attempt: int, run_id: str = RUN_ID) -> None:
    """Write what a node process would have kept: a line a second."""
    folder = output / ".ftlaunch/logs"
    folder.mkdir(parents=True, exist_ok=True)
    life_ns = BEGIN_NS + life_s * 10**9
    name = LogFileName(run=short_run(run_id), node=node, life_ns=life_ns, first_ns=life_ns)
    lines = [
        b"2026-11-24T00:%02d:%02d.00000000%dZ [a%d r%d] kept %d"
        % (life_s // 60, life_s % 60 + number, node, attempt, node, number)
        for number in range(2)
    ]
    (folder / str(name)).write_bytes(to_kubelet_form(lines))


@pytest.fixture
def output(cluster: Fading, make_plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output folder of `flowers`; its volume is a folder of this machine."""
    job_plan = make_plan(launch={"nodes": 3, "name": "flowers"}, exact_name="flowers")
    text = render(job_plan).text
    (RunStore(Path("state/runs")).run_folder("flowers") / "manifest.yaml").write_text(text)
    found = tmp_path / "volume"
    found.mkdir()
    monkeypatch.setattr(KubernetesBackend, "open_folder", lambda *_, **__: nullcontext(Folder(found)))
    return found


@pytest.fixture
def where(make_plan) -> str:
    return f"{make_plan().node_file.output_dir}/.ftlaunch/logs"


def test_lines_come_from_the_output_folder_once_pods_and_job_are_gone(cluster, ftlaunch, output, where):
    for node in range(3):
        keep(output, node, life_s=0, attempt=1)
        keep(output, node, life_s=100, attempt=2)
    keep(output, 0, life_s=200, attempt=1, run_id="f" * 32)  # of a run that had the folder before
    cluster.has_pods = False
    note = f"flowers: its pods are gone; these lines are from {where}\n"
    shown = [f"[rank {node}] kept {number}" for number in range(2) for node in range(3)]
    code, out, err = ftlaunch("logs")
    assert (code, out.splitlines(), err) == (0, shown, note)
    cluster.has_job = False
    assert ftlaunch("logs") == (0, out, note)
    code, out, _ = ftlaunch("logs", "--attempt", "1", "--rank", "2", "--no-prefix")
    assert (code, out) == (0, "kept 0\nkept 1\n")
    assert (
        ftlaunch("logs", "--tail", "1", "--output", "json")[1]
        == json.dumps(
            {"time": "2026-11-24T00:01:41.000Z", "node": 2, "rank": 2, "attempt": 2, "text": "kept 1"}
        )
        + "\n"
    )
    assert ftlaunch("logs", "--since", "2026-11-24T00:01:41Z", "--rank", "0")[1] == "[rank 0] kept 1\n"
    code, out, err = ftlaunch("logs", "-f", "--attempt", "all")
    assert (code, len(out.splitlines())) == (4, 12)


def test_pods_that_are_there_are_not_asked_twice(cluster, ftlaunch, output):
    for node in range(3):
        keep(output, node, life_s=0, attempt=1)
    code, out, err = ftlaunch("logs")
    assert (code, err) == (0, "")
    assert "kept" not in out


def test_a_volume_that_cannot_be_read_is_said_and_what_was_recorded_is_shown(
    cluster, ftlaunch, output, where, monkeypatch
):
    assert ftlaunch("logs")[0] == 0

    def refuse(*_: object, **__: object) -> None:
        raise VolumeError("you may not run programs in pods", where="ml")

    monkeypatch.setattr(KubernetesBackend, "open_folder", refuse)
    cluster.has_job = cluster.has_pods = False
    code, out, err = ftlaunch("logs")
    assert (code, len(out.splitlines())) == (0, 12)
    assert f"what its nodes kept of their log in {where} cannot be read: ml: you may not run" in err
    assert "this is what was read of its log before" in err


def keep_end(output: Path, *words: str) -> None:
    """Write what node 0 would have kept of its end."""
    keep(output, 0, life_s=0, attempt=1)
    name = LogFileName(
        run=short_run(RUN_ID), node=0, life_ns=BEGIN_NS, first_ns=BEGIN_NS + 60 * 10**9
    )  # fmt: skip
    lines = [f"2026-11-24T00:01:{number:02d}.000000000Z [a1 n0] {text}" for number, text in enumerate(words)]
    text = b"2026-11-24T00:00:59.000000000Z [a1 r0] ResourceExhaustedError: Out of memory error on GPU 0."
    (output / ".ftlaunch/logs" / str(name)).write_bytes(
        to_kubelet_form([text, *(line.encode() for line in lines)])
    )


def test_why_reads_what_was_kept_once_pods_or_job_are_gone(cluster, ftlaunch, output, where):
    keep_end(output, "rank 0 ended with exit code 1", "all attempts are used up: rank 0 ended (no more)")
    cluster.has_pods, cluster.has_failed = False, True
    of_job = json.loads(ftlaunch("why", "flowers", "--output", "json")[1])
    cluster.has_job = False
    code, out, _ = ftlaunch("why", "flowers", "--output", "json")
    found = json.loads(out)
    assert (code, found["state"], found["code"]) == (0, "Failed", "gpu-memory")
    assert {key: found[key] for key in of_job if key != "skipped"} == {
        key: value for key, value in of_job.items() if key != "skipped"
    }
    assert found["skipped"] == [
        {"what": "pods", "reason": f"flowers: its pods are gone; these lines are from {where}"}
    ]
    keep_end(output, "done")
    assert json.loads(ftlaunch("why", "flowers", "--output", "json")[1])["code"] == "succeeded"
    keep_end(output, "attempt 1 begins: 3 ranks on 3 nodes")
    assert ftlaunch("why", "flowers")[0] == 4


@pytest.mark.parametrize(
    ("line", "end"),
    [
        ("[a2 n0] the data was refused: a.txt: 3", (3, 2, "a.txt: 3")),
        ("[a1 n0] done", (0, 1, "done")),
        ("[a1 r0] done", None),
        ("done", None),
        ("[a1 n0] donee", None),
    ],
)
def test_the_end_is_what_a_node_process_says_of_itself(line, end):
    found = find_end([b"2026-11-24T00:00:00.000000000Z " + line.encode()])
    assert (found and (found.exit, found.attempt, found.reason)) == end
