"""Outside of a job, what `local` of `Launch` names stands for mounts that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.config.document import parse_document
from trainer.config.mounts import MountsHere, find_mounts_here
from trainer.protocol.lastrun import newest_below, point_latest

GONE = "/no-such-mount-anywhere"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def find(launch: str, *, output: str = f"{GONE}/out", new_run: str | None = None) -> MountsHere:
    text = f"Global: {{output_dir: {output}}}\nLaunch: {launch}\n"
    return find_mounts_here(parse_document(text.encode(), name="cfg.yaml"), new_run=new_run)


def test_a_volume_that_is_not_there_is_what_local_names_and_it_is_said_once(tmp_path):
    (tmp_path / "here").mkdir()
    found = find(f"{{volumes: [{{mount: {GONE}, claim: c, local: here}}]}}")
    assert found.path_map.apply(f"{GONE}/out/x") == "here/out/x"
    assert found.notes == (f"cfg.yaml: note: on this machine here for {GONE} (`local` of Launch)",)


def test_a_volume_that_is_there_is_used_and_that_local_is_not_is_said(tmp_path):
    mount, local = tmp_path / "mounted", tmp_path / "local"
    mount.mkdir()
    local.mkdir()
    found = find(f"{{volumes: [{{mount: {mount}, local: {local}}}]}}", output=f"{mount}/out")
    assert found.path_map.apply(f"{mount}/out") == f"{mount}/out"
    assert found.notes == (
        f"cfg.yaml:2:20: warning: Launch.volumes.0: {mount} is on this machine and is used; "
        f"`local: {local}` is not",
    )


def test_a_volume_for_which_nothing_stands_is_named_where_the_config_needs_it():
    assert find(f"{{volumes: [{{mount: {GONE}, claim: c}}]}}", output="./output").notes == ()
    (said,) = find(f"{{volumes: [{{mount: {GONE}, claim: c}}]}}").notes
    assert said.endswith(f"{GONE} is not here, and nothing stands for it; add `local: FOLDER`")


def test_weights_and_secrets_are_mapped_as_volumes_are(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = find(
        f"{{weights: {{claim: w, path: {GONE}/w, local: mine}}, "
        f"secrets: [{{name: s, key: k, mount: {GONE}/s/k, local: ~/.key}}]}}",
        output="./output",
    )
    assert found.path_map.apply(f"{GONE}/w/a.pdparams") == "mine/a.pdparams"
    assert found.path_map.apply(f"{GONE}/s/k") == str(tmp_path / "home" / ".key")


def test_a_relative_path_counts_from_the_pods_working_folder():
    found = find("{volumes: [{mount: /workspace/dataset, claim: d, local: /big/dataset}]}", output="./output")
    assert found.path_map.apply("./dataset/train.txt") == "/big/dataset/train.txt"
    assert found.path_map.apply("dataset") == "/big/dataset"
    assert found.path_map.apply("./datasets/x") == "./datasets/x"


@pytest.mark.parametrize(
    "launch",
    ["null", "[]", "text", "{volumes: 3}", "{volumes: [3, null, {mount: 7}]}",
     "{weights: [], secrets: {a: 1}}",
     "{volumes: [{mount: /no-such-mount-anywhere, local: 3, sub_path: []}]}"],
)  # fmt: skip
def test_a_section_of_another_form_maps_nothing(launch):
    assert find(launch).path_map.prefixes == {}


class TestAFolderForEachRun:
    LAUNCH = f"{{volumes: [{{mount: {GONE}, claim: c, sub_path: 'team/{{job}}/x', local: runs}}]}}"

    def test_a_run_that_begins_gets_a_new_one(self):
        found = find(self.LAUNCH, new_run="flowers-abcde")
        assert found.path_map.apply(f"{GONE}/out") == "runs/team/flowers-abcde/x/out"
        assert found.run_folder == Path("runs/team/flowers-abcde/x")

    def test_a_command_that_reads_means_the_newest(self, tmp_path):
        for name in ("a-11111", "b-22222"):
            folder = tmp_path / "runs" / "team" / name / "x"
            folder.mkdir(parents=True)
            assert point_latest(folder, "team/{job}/x") is None
        assert (tmp_path / "runs" / "team" / "latest").readlink() == Path("b-22222")
        found = find(self.LAUNCH)
        assert found.path_map.apply(f"{GONE}/out") == "runs/team/b-22222/x/out"
        assert found.run_folder is None

    def test_before_any_run_it_is_where_the_newest_would_be(self):
        assert find(self.LAUNCH).path_map.apply(GONE) == "runs/team/latest/x"


class TestLatest:
    def test_where_it_leads_to_nothing_the_newest_that_is_left_is_meant(self, tmp_path):
        for age, name in ((300, "old"), (200, "kept"), (100, "deleted")):
            state = tmp_path / name / ".ftlaunch"
            state.mkdir(parents=True)
            (state / "run.json").write_text("{}")
            os.utime(state / "run.json", (10_000 - age, 10_000 - age))
            point_latest(tmp_path / name)
        assert newest_below(tmp_path) == tmp_path / "deleted"
        (tmp_path / "deleted" / ".ftlaunch" / "run.json").unlink()
        (tmp_path / "deleted" / ".ftlaunch").rmdir()
        (tmp_path / "deleted").rmdir()
        assert newest_below(tmp_path) == tmp_path / "kept"

    def test_what_is_somebodys_own_is_left_and_said(self, tmp_path):
        (tmp_path / "latest").write_text("mine")
        (tmp_path / "run").mkdir()
        said = point_latest(tmp_path / "run")
        assert said is not None
        assert "something of yours" in said
        assert (tmp_path / "latest").read_text() == "mine"

    def test_a_link_that_leads_elsewhere_is_replaced_and_what_it_led_to_is_not_touched(self, tmp_path):
        victim = tmp_path / "victim"
        victim.mkdir()
        (victim / "file").write_text("precious")
        runs = tmp_path / "runs"
        (runs / "run").mkdir(parents=True)
        (runs / "latest").symlink_to(victim)
        assert newest_below(runs) == runs / "run"  # a link out of the folder is not followed
        assert point_latest(runs / "run") is None
        assert (runs / "latest").readlink() == Path("run")
        assert (victim / "file").read_text() == "precious"
