from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.errors import NotFoundError
from launcher.jobs.checkpoints import find_checkpoints, pull_checkpoint, verify_checkpoints
from launcher.jobs.metrics import read_metrics
from launcher.jobs.resolve import find_job
from launcher.names import RUN_ID_LABEL
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.volumes import agent, transfer
from launcher.volumes.checkpoints import choose_checkpoint, list_checkpoints
from launcher.volumes.checkpoints import verify_checkpoints as verify_in
from launcher.volumes.place import Channel, Folder, VolumeError
from tests.launcher.schemas import check_document
from trainer.checkpoints.store import CheckpointStore
from trainer.protocol.layout import CheckpointName, Keep, OutputLayout
from trainer.protocol.nodefile import NodeFile, format_node_file

RUN_ID = "0123456789abcdef" * 2
FIRST, SECOND = CheckpointName(1, 10), CheckpointName(2, 20)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder as the trainer leaves it."""
    store = CheckpointStore(OutputLayout(tmp_path / "output"))
    for name in (FIRST, SECOND):
        files = {"model.pdparams": b"weights" * 1000, "state.json": str(name).encode()}
        fills = {key: (lambda file, data=data: file.write(data)) for key, data in files.items()}
        saved = store.save(name, fills, run_id=RUN_ID)
        if name == FIRST:
            store.mark_best(saved)
    (tmp_path / "output/.ftlaunch/checkpoints/e009-s000090.tmp").mkdir()
    (tmp_path / "output/.ftlaunch/checkpoints/e009-s000090.tmp/model.bin").touch()
    return tmp_path / "output"


def damage(output: Path, name: CheckpointName, *, grow: int) -> None:
    path = OutputLayout(output).checkpoint_dir(name) / "model.pdparams"
    path.write_bytes(b"x" + path.read_bytes()[1:] + b"x" * grow)


def test_checkpoints_are_listed_with_their_marks(output):
    second, first = list_checkpoints(Folder(output))
    assert (second.name, second.is_latest, second.is_best, second.fault) == (SECOND, True, False, "")
    assert (first.name, first.is_latest, first.is_best, first.run_id) == (FIRST, False, True, RUN_ID)
    assert first.size_bytes == 7000 + len(str(FIRST))


@pytest.mark.parametrize(("grow", "hashes", "found"), [(1, False, True), (0, False, False), (0, True, True)])
def test_a_damaged_file_is_found_by_its_size_or_its_hash(output, grow, hashes, found):
    damage(output, SECOND, grow=grow)
    second, first = (verify_in if hashes else list_checkpoints)(Folder(output))
    assert (second.fault == "model.pdparams is not what the manifest says") == found
    assert first.fault == ""


@pytest.mark.parametrize(
    "text", [None, "{", "{}", '{"run_id": "a", "files": 5}', '{"run_id":"a","files":{"a":{}}}']
)
def test_a_broken_manifest_is_a_fault(output, text):
    path = OutputLayout(output).checkpoint_dir(SECOND) / "manifest.json"
    path.unlink() if text is None else path.write_text(text)
    second, first = list_checkpoints(Folder(output))
    assert second.fault
    assert not first.fault
    assert choose_checkpoint([second, first], "best") is first


def test_a_checkpoint_that_is_not_there_is_told(output, tmp_path):
    with pytest.raises(NotFoundError, match=r"expected one of e002-s000020, e001-s000010"):
        choose_checkpoint(list_checkpoints(Folder(output)), "e003-s000030")
    with pytest.raises(NotFoundError, match="expected the folder"):
        list_checkpoints(Folder(tmp_path / "none"))
    (tmp_path / "fresh").mkdir()
    assert list_checkpoints(Folder(tmp_path / "fresh")) == []


@pytest.fixture
def job(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A local job that ended, with what its submit has left on this machine."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    metadata = {"name": "flowers", "labels": {RUN_ID_LABEL: RUN_ID}}
    node_file = NodeFile(
        run_id=RUN_ID, job="flowers", nodes=1, procs_per_node=1, coordinator_host="flowers-worker-0",
        coordinator_port=36544, backend="gloo", output_dir="/runs/output", max_restarts=0, backoff_s=1.0,
        deadline_s=None, grace_s=5.0, rendezvous_timeout_s=60.0, hang_timeout_s=None,
    )  # fmt: skip
    data = {"node.json": format_node_file(node_file)}
    manifest = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "name": "flowers-config"},
            "data": data,
        },
        {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "metadata": metadata, "spec": {}},
    ]
    record = RunRecord(
        handle=Handle(backend="local", job="flowers"), run_id=RUN_ID, stage=Stage.SUBMITTED,
        project=str(project_of(tmp_path)), config="cfg.yaml", command=("submit",), created_s=time.time(),
    )  # fmt: skip
    folder = RunStore(runs_dir()).begin(
        record, config=b"", manifest="\n---\n".join(map(json.dumps, manifest)), git=None
    )
    (folder / "local").mkdir()
    request = {
        "schema": 1, "run_id": RUN_ID, "host_folders": {"/runs": str(tmp_path)}, "workdir": str(tmp_path),
        "devices": [],
    }  # fmt: skip
    (folder / "local" / "request.json").write_text(json.dumps(request))
    return "flowers"


def test_a_checkpoint_is_fetched_once(job, output, tmp_path, capsys):
    assert run(["ckpt", "pull", job]) == 0
    out, err = capsys.readouterr()
    assert out == "flowers-e002-s000020\n"
    assert "2 of 2 files came" in err
    there = OutputLayout(output).checkpoint_dir(SECOND)
    assert {path.name: path.read_bytes() for path in (tmp_path / "flowers-e002-s000020").iterdir()} == {
        path.name: path.read_bytes() for path in there.iterdir()
    }
    assert run(["ckpt", "pull", "--to", "flowers-e002-s000020"]) == 0
    assert "0 of 2 files came" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_not_fetched_and_verify_exits_with_7(job, output, capsys):
    damage(output, SECOND, grow=0)
    assert run(["ckpt", "verify", job]) == 7
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "e002-s000020  model.pdparams is not what the manifest says",
        "e001-s000010  whole: every hash is right",
    ]
    assert run(["ckpt", "verify", job, "--output", "json"]) == 7
    verified = json.loads(capsys.readouterr().out)
    assert check_document(verified) == "ckpt-verify"
    assert (verified["ok"], [item["fault"] is None for item in verified["items"]]) == (False, [False, True])
    assert run(["ckpt", "verify", job, "--checkpoint", "best"]) == 0
    capsys.readouterr()
    assert run(["ckpt", "pull", job]) == 7
    assert "model.pdparams: expected the SHA-256" in capsys.readouterr().err
    damage(output, FIRST, grow=3)
    assert run(["ckpt", "pull", job, "--checkpoint", "best"]) == 4


def test_the_list_is_for_people_and_for_programs(job, capsys):
    assert run(["ckpt", "ls"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "CHECKPOINT"
    assert [row.split()[0] for row in rows] == ["e002-s000020", "e001-s000010"]
    assert "latest" in rows[0]
    assert "best" in rows[1]
    assert run(["ckpt", "ls", job, "--output", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert check_document(listed) == "ckpt-ls"
    assert listed["items"][0]["step"] == 20
    assert [item["kept"] for item in listed["items"]] == [["latest"], ["latest", "best"]]
    assert run(["ckpt", "ls", job, "--output", "name"]) == 0
    assert capsys.readouterr().out == "e002-s000020\ne001-s000010\n"


def test_the_next_is_fetched_where_the_job_deletes_the_chosen_one_meanwhile(job, output, capsys, monkeypatch):
    layout, pull = OutputLayout(output), transfer.pull

    def late(place, files, **given):
        shutil.rmtree(layout.checkpoint_dir(SECOND), ignore_errors=True)
        layout.pointer.write_text(f"{FIRST}\n")
        return pull(place, files, **given)

    monkeypatch.setattr(transfer, "pull", late)
    assert run(["ckpt", "pull", job]) == 0
    assert capsys.readouterr().out == "flowers-e001-s000010\n"


class SavingFolder(Folder):
    """An output folder whose job saves another checkpoint, and deletes the last one, whenever it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._store, self.saves = CheckpointStore(OutputLayout(folder)), 2

    @contextmanager
    def start(self, argv: Sequence[str]) -> Iterator[Channel]:
        with super().start(argv) as channel:
            yield channel
        self.save()

    def save(self) -> None:
        self.saves += 1
        name = CheckpointName(self.saves, 10 * self.saves)
        self._store.mark_best(
            self._store.save(name, {"a.pdparams": lambda file: file.write(b"w")}, run_id=RUN_ID)
        )
        self._store.prune(Keep(latest=1))


def test_checkpoints_of_a_job_that_saves_meanwhile_are_listed_whole(output):
    place = SavingFolder(output)
    place.save()
    (only,) = list_checkpoints(place)
    assert (only.is_latest, only.fault) == (True, "")
    assert choose_checkpoint([only], "latest") is only


class SlowFolder(SavingFolder):
    """Its job saves before a file is read, too, until it has saved so often."""

    def __init__(self, folder: Path, *, until: int) -> None:
        super().__init__(folder)
        self.until = until
        self.save()

    @contextmanager
    def start(self, argv: Sequence[str]) -> Iterator[Channel]:
        if "stat" in argv and self.saves < self.until:
            self.save()
        with Folder.start(self, argv) as channel:
            yield channel


def test_a_job_that_deletes_each_checkpoint_before_it_is_read_is_told_of(output):
    for text in (None, "latest"):
        with pytest.raises(VolumeError, match="expected a checkpoint that stays while it is read"):
            verify_in(SlowFolder(output, until=1000), text)


@pytest.mark.parametrize("text", [None, "latest", "best"])
def test_a_checkpoint_that_the_job_deletes_while_it_is_verified_is_not_called_damaged(output, text):
    place = SlowFolder(output, until=5)
    (only,) = verify_in(place, text)
    assert (only.is_latest, only.fault, place.saves) == (True, "", 5)


def test_files_that_are_deleted_once_they_are_asked_for_still_come(output, tmp_path):
    """All are opened before the first one is sent."""
    second, _ = list_checkpoints(Folder(output))
    deleted = []

    class Deleting(io.BytesIO):
        def write(self, data):
            if not deleted:
                deleted.append(shutil.rmtree(OutputLayout(output).checkpoint_dir(SECOND)))
            return super().write(data)

    out = Deleting()
    agent.send_files(output / second.within, [(file.path, 0) for file in second.files], out)
    table = {file.path: {"size": file.size, "sha256": file.sha256} for file in second.files}
    arrived = list(agent.receive_files(tmp_path, table, io.BytesIO(out.getvalue())))
    assert (deleted, sorted(arrived)) == ([None], sorted(table))


def plant(output: Path, *names: str, content: bytes = b"theirs") -> None:
    """Have a manifest name more files, which are there, with the right size and hash."""
    folder = OutputLayout(output).checkpoint_dir(SECOND)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in names:
        if name and "/" not in name and "\0" not in name:
            (folder / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"size": len(content), "sha256": sha256}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", [
    ".bash_profile", ".netrc", "conftest.py", "usercustomize.py", "cfg.yaml", ".ftlaunch.yaml", "Makefile",
    "model",
    "../model.pdparams", "/tmp/model.pdparams", "a/model.pdparams", "model.pdparams/", "model.pdparams\n",
    "model.pdparams\0.py", "nul.pdparams", ".model.pdparams", "-rf.pdparams", "manifest.json",
    "package.json", "",
])  # fmt: skip
def test_a_manifest_that_names_anything_but_files_of_a_checkpoint_brings_nothing(
    job, output, tmp_path, capsys, name
):
    (tmp_path / "work").mkdir()
    plant(output, name)
    assert run(["ckpt", "pull", job, "--to", "work", "--checkpoint", str(SECOND)]) == 4
    assert "expected names of a checkpoint's files" in capsys.readouterr().err
    assert list((tmp_path / "work").iterdir()) == []
    assert run(["ckpt", "pull", job, "--to", "work", "--checkpoint", str(FIRST)]) == 0


@pytest.mark.parametrize("sha256", ["", "x" * 64, "A" * 64, "../../x"])
def test_a_manifest_s_hash_is_one(output, sha256):
    folder = OutputLayout(output).checkpoint_dir(SECOND)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.pdparams"]["sha256"] = sha256
    (folder / "manifest.json").write_text(json.dumps(manifest))
    second, _ = list_checkpoints(Folder(output))
    assert "files.model.pdparams.sha256: expected 64 digits" in second.fault


def test_weights_of_ones_own_are_not_replaced_but_those_of_an_earlier_checkpoint_are(job, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model.pdparams").write_bytes(b"mine")
    assert run(["ckpt", "pull", job, "--to", "mine"]) == 2
    assert "model.pdparams; name another folder with --to" in capsys.readouterr().err
    assert (mine / "model.pdparams").read_bytes() == b"mine"
    (mine / "model.pdparams").unlink()
    assert run(["ckpt", "pull", job, "--to", "mine", "--checkpoint", "best"]) == 0
    assert run(["ckpt", "pull", job, "--to", "mine", "--checkpoint", "latest"]) == 0
    assert (mine / "state.json").read_bytes() == str(SECOND).encode()


def test_a_link_under_the_manifest_s_name_is_replaced_not_followed(job, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "mine/manifest.json").symlink_to(tmp_path / "precious")
    assert run(["ckpt", "pull", job, "--to", "mine"]) == 0
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "mine/manifest.json").is_symlink()


def test_checkpoints_are_found_fetched_and_verified_by_calls(job, output, tmp_path, capsys):
    found = find_job(job)
    names = [str(item.name) for item in find_checkpoints(found)]
    assert names
    pulled = pull_checkpoint(found, to=tmp_path / "here")
    assert (pulled.folder, pulled.fetched) == (tmp_path / "here", pulled.files)
    assert pull_checkpoint(found, to=tmp_path / "here").fetched == 0
    assert [item.fault for item in verify_checkpoints(found, names[0])] == [""]
    assert capsys.readouterr() == ("", "")


def test_what_a_job_has_measured_is_read_row_by_row_and_half_a_row_is_left_out(job, output):
    assert read_metrics(find_job(job)) == []
    rows = [{"event": "step", "attempt": 1, "time_s": 1.5, "loss": None}, {"event": "eval", "top1": 0.5}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (output / "metrics.jsonl").write_text(text + '[1, 2]\n{"event": "step", "lo')
    assert read_metrics(find_job(job)) == rows
