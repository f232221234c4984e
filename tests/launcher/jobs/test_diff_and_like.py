"""`ftlaunch diff`, and a submit like an earlier one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.errors import NotFoundError
from launcher.jobs import comparison
from launcher.jobs.comparison import Parting, find_parting
from launcher.jobs.resolve import ResolvedJob
from launcher.runs.origin import Origin, hash_file, load_origin, save_origin
from launcher.runs.store import RunStore
from tests.launcher.schemas import check_document

PLACE = ("--namespace", "ml")


@pytest.fixture
def ftlaunch(write_config, store: RunStore, capfd, cluster, monkeypatch):
    """Run a command in a folder with a config; no job of the cluster has measured anything."""
    write_config()

    def nothing_yet(job: ResolvedJob) -> None:
        raise NotFoundError(where=job.name, expected="a job that has measured something")

    monkeypatch.setattr(comparison, "rows_of", nothing_yet)

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call


def steps(*losses: float, first: int = 1) -> list[dict[str, object]]:
    return [{"event": "step", "step": step, "loss": loss} for step, loss in enumerate(losses, first)]


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (steps(3.0, 2.0), steps(3.0, 2.0, 1.0), Parting(step=None, before=None, after=None, equal_steps=2)),
        (steps(3.0, 2.0), steps(3.0, 2.5), Parting(step=2, before=2.0, after=2.5, equal_steps=1)),
        ([*steps(3.0), *steps(2.0)], steps(2.0), Parting(step=None, before=None, after=None, equal_steps=1)),
        (steps(3.0), steps(3.0, first=2), None),
        (steps(3.0), [{"event": "step", "step": 1, "loss": None}, {"event": [], "step": {}}], None),
    ],
    ids=["equal", "differ", "done-twice", "none-in-common", "rows-of-others"],
)
def test_losses_part_at_the_first_step_of_both_that_differs(ours, theirs, found):
    assert find_parting(ours, theirs) == found


def test_two_jobs_are_compared_by_all_that_is_known_of_them(ftlaunch, store):
    assert ftlaunch("submit", "cfg.yaml", "--name", "one", *PLACE)[0] == 0
    assert (
        ftlaunch("submit", "cfg.yaml", "--name", "two", *PLACE, "--nodes", "2", "-o", "Global.epochs=7")[0]
        == 0
    )
    for name, digest in (("one", "ab" * 32), ("two", "cd" * 32)):
        save_origin(
            store.run_folder(name), Origin(versions={"python": "3.11"}, lists={"/data/l.txt": digest})
        )
    code, out, _ = ftlaunch("diff", "one", "two")
    assert code == 0
    table = [" ".join(line.split()) for line in out.splitlines()]
    assert table[0] == "one two"
    assert any(line.startswith("CONFIG Global.epochs") and line.endswith(" 7") for line in table)
    assert "DATA /data/l.txt abababababab cdcdcdcdcdcd" in table
    assert any(line.endswith("nodes 1 2") for line in table)
    assert "losses: no step that both have" in table
    assert "python" not in out  # which is the same
    document = json.loads(ftlaunch("diff", "one", "two", "--output", "json")[1])
    assert check_document(document) == "diff"
    assert len(document["unknown"]) == 2  # what they have measured
    same = json.loads(ftlaunch("diff", "one", "one", "--output", "json")[1])
    assert not any(same[part] for part in ("config", "data", "versions", "size", "metrics"))
    (store.run_folder("two") / "cfg.yaml").unlink()
    assert ftlaunch("diff", "one", "two")[0] != 0


def test_what_a_run_is_made_of_is_noted_when_it_is_submitted(ftlaunch, store, tmp_path):
    assert ftlaunch("submit", "cfg.yaml", "--name", "one", *PLACE)[0] == 0
    origin = load_origin(store.run_folder("one"))
    assert origin is not None
    assert origin.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert origin.lists == {}  # they lie in a cluster
    (tmp_path / "list.txt").write_bytes(b"a 0\n")
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    (tmp_path / "foo").write_bytes(b"foo")
    assert hash_file(tmp_path / "foo") == digest
    assert hash_file(tmp_path) is hash_file(tmp_path / "none") is None
    (store.run_folder("one") / "origin.json").write_text("{}")
    assert load_origin(store.run_folder("one")) is None


def test_a_job_like_another_has_its_options_and_what_is_typed_now_on_top(ftlaunch, store):
    first = ("--name", "one", *PLACE, "--nodes=2", "-o", "Global.epochs=7", "-oGlobal.seed=1", "--overwrite")
    assert ftlaunch("submit", "cfg.yaml", *first)[0] == 0
    code, out, err = ftlaunch("submit", "--like", "one", "--name", "two", "-o", "Global.epochs=9")
    assert (code, out) == (0, "kubernetes://ml/two\n"), err
    record = store.load("two")
    assert record is not None
    assert record.command == (
        "submit", str(Path.cwd() / "cfg.yaml"), *PLACE, "--nodes=2", "-o", "Global.epochs=7",
        "-oGlobal.seed=1", "--name", "two", "-o", "Global.epochs=9",
    )  # fmt: skip
    changes = json.loads(ftlaunch("diff", "one", "two", "--output", "json")[1])["config"]
    assert changes == [{"key": "Global.epochs", "before": "7", "after": "9"}]
    code, out, err = ftlaunch("submit", "--like", "two", "--name", "three", "--nodes", "3")
    assert (code, out) == (0, "kubernetes://ml/three\n"), err
    sizes = json.loads(ftlaunch("diff", "two", "three", "--output", "json")[1])["size"]
    assert {"key": "nodes", "before": "2", "after": "3"} in sizes


def test_a_config_that_has_changed_since_is_taken_as_it_was(ftlaunch, store):
    assert ftlaunch("submit", "cfg.yaml", "--name", "one", *PLACE)[0] == 0
    Path("cfg.yaml").write_text("Global: {}\n")
    code, _, err = ftlaunch("submit", "--like", "one", "--name", "two")
    assert code == 0
    assert "cfg.yaml is not as one had it; what was submitted then is taken" in " ".join(err.split())
    assert (store.run_folder("two") / "cfg.yaml").read_bytes() == (
        store.run_folder("one") / "cfg.yaml"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--like", "one", "cfg.yaml"), "--like: expected no CONFIG beside it, got 'cfg.yaml'"),
        ((), "Missing argument 'CONFIG'."),
        (("--like", "nobody"), "nobody: expected a job of this machine's runs, got none"),
        (
            ("--like", "program"),
            "expected a job that `ftlaunch submit` has sent, got one that a program has sent",
        ),
    ],
    ids=["with-a-config", "without-either", "no-such-job", "of-a-program"],
)
def test_what_cannot_be_taken_over_is_refused(ftlaunch, store, arguments, said):
    assert ftlaunch("submit", "cfg.yaml", "--name", "one", *PLACE)[0] == 0
    assert ftlaunch("submit", "cfg.yaml", "--name", "program", *PLACE)[0] == 0
    path = store.run_folder("program") / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": []}))
    code, out, err = ftlaunch("submit", *arguments)
    assert (code in (2, 4), out) == (True, "")
    assert said in err


def test_another_folder_is_refused_by_name(ftlaunch, tmp_path, monkeypatch):
    assert ftlaunch("submit", "cfg.yaml", "--name", "one", *PLACE)[0] == 0
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    code, _, err = ftlaunch("submit", "--like", "one")
    assert (code, f"cd {tmp_path}" in err) == (2, True)
