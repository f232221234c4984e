"""Reports made where the images are. A claim is a folder here, and what runs beside it is the trainer."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from launcher.backends.kubernetes import transfer_pod
from launcher.jobs import data, data_report
from launcher.jobs.data import ClaimTarget
from launcher.jobs.data_report import DataQuestion, report_data
from launcher.volumes.place import Folder, Scratch, VolumeError
from tests.docs.pages import commands
from tests.launcher.configs import config_values
from tests.launcher.schemas import check_document

OF_A_CLAIM, OF_A_CONFIG, OF_A_FOLDER = (shlex.split(command)[1:] for command in commands("data-report-claim"))


class PodFolder(Folder):
    """A claim, and a folder of its own that is gone with the pod."""


@pytest.fixture
def claim(tmp_path, monkeypatch):
    """A claim with lists and images, a new pod beside it each time."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "claims" / "flowers" / "set"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for place in range(6):
        small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{place}.jpg"), cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC))
    (folder / "train_list.txt").write_text("".join(f"{place}.jpg {place % 2}\n" for place in range(4)))
    (folder / "val_list.txt").write_text("4.jpg 0\n5.jpg 1\nnosuch.jpg 0\n")
    pods = []

    def open_claim(name, path, *, read_only, scratch, **_):
        assert read_only
        assert scratch is not None
        pod = PodFolder(tmp_path / "claims" / name / path)
        pod.scratch = str(tmp_path / "pods" / str(len(pods)))
        Path(pod.scratch).mkdir(parents=True)
        pods.append(pod)
        return contextlib.nullcontext(pod)

    monkeypatch.setattr(data, "open_backend", lambda *_, **__: SimpleNamespace(open_claim=open_claim))
    return folder, pods


def test_a_claims_report_comes_with_its_lists_and_the_next_one_reads_nothing_again(claim, ftlaunch, tmp_path):
    folder, pods = claim
    code, out, err = ftlaunch(*OF_A_CLAIM)
    assert code == 7, err
    assert "problem: lines that cannot be used: 1; correct or remove the lines" in out
    assert sorted(path.name for path in Path("data-report").iterdir()) == [
        "report.html", "report.json", "val_list.clean.txt",
    ]  # fmt: skip
    assert Path("data-report/val_list.clean.txt").read_text() == "4.jpg 0\n5.jpg 1\n"
    (kept,) = (tmp_path / "state" / "cache" / "data-reports").glob("*/cache/ftlaunch/images/images.sqlite3")
    for image in folder.glob("*.jpg"):  # the same size and time, and nothing that could be read
        about = image.stat()
        image.write_bytes(b"x" * about.st_size)
        os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns))
    code, out, _ = ftlaunch(*OF_A_CLAIM, "--output", "json")
    document = json.loads(out)
    assert check_document(document) == "data-report"
    assert [finding["kind"] for finding in document["report"]["findings"]] == ["bad-lines"]
    assert stat.S_IMODE((Path(pods[1].scratch) / "cache/ftlaunch/images").stat().st_mode) == 0o700
    assert kept.is_file()


def test_a_config_says_which_claim_and_how_its_lists_are_read(claim, ftlaunch):
    folder, _ = claim
    (folder / "train_list.txt").write_text("".join(f"{place}.jpg;{place % 2}\n" for place in range(4)))
    values = config_values(
        launch={"volumes": [{"mount": "/data", "claim": "flowers"}, {"mount": "/output", "claim": "runs"}]},
        Arch__class_num=2,
    )
    values["DataLoader"]["Train"]["dataset"] |= {
        "image_root": "/data/set", "cls_label_path": "/data/set/train_list.txt", "delimiter": ";",
    }  # fmt: skip
    Path("cfg.yaml").write_text(yaml.safe_dump(values))
    code, out, err = ftlaunch(*OF_A_CONFIG)
    assert code == 0, err
    assert json.loads(Path("data-report/report.json").read_text())["splits"] == {"training": 4}
    assert "wrote data-report/report.html" in out


def test_what_was_read_before_it_broke_off_is_kept(claim, monkeypatch, tmp_path):
    question = DataQuestion(targets=("flowers:set",), on="kubernetes", claim=ClaimTarget(name=""))

    @contextlib.contextmanager
    def stop(doing, total):
        def tell(count):
            if count:
                raise KeyboardInterrupt

        yield tell

    with pytest.raises(KeyboardInterrupt):
        report_data(question, to=tmp_path / "out", counting=stop)
    kept = list(
        (tmp_path / "state" / "cache" / "data-reports").glob("*/cache/ftlaunch/images/images.sqlite3")
    )
    assert len(kept) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.stderr.write('trainer: no room'); sys.exit(3)", "flowers:set: no room"),
        ("print('hello')", "the report ended with exit code 0"),
        ("import sys; sys.exit(97)", "name the trainer's image with --image"),
        (
            'print(\'{"event": "written", "files": ["../../x.clean.txt", "report.html"]}\')',
            "expected report.html",
        ),
    ],
)
def test_a_pod_that_makes_no_report_is_told_in_its_own_words_and_nothing_else_comes(
    claim, monkeypatch, tmp_path, program, said
):
    monkeypatch.setattr(data_report, "_START", program)
    question = DataQuestion(targets=("flowers:set",), claim=ClaimTarget(name=""))
    with pytest.raises(VolumeError) as caught:
        report_data(question, to=tmp_path / "out")
    assert said in str(caught.value)


def test_a_folder_of_this_machine_is_read_here(claim, ftlaunch):
    folder, pods = claim
    Path("set").symlink_to(folder)
    code, out, err = ftlaunch(*OF_A_FOLDER, "--to", "here")
    assert (code, pods) == (0, []), err
    assert "wrote here/report.html" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected CLAIM[:FOLDER], a folder or list files, or -c FILE"),
        (("a/b",), "a/b: expected a folder or a list file of this machine, or one claim, got none"),
        (("one", "two"), "one: expected a folder or a list file"),
        (("set", "--on", "docker"), "expected one folder with lists in it"),
        (("one", "two", "--on", "kubernetes"), "expected one CLAIM[:FOLDER], got 2"),
    ],
)
def test_what_names_no_data_is_refused(claim, ftlaunch, words, said):
    code, out, err = ftlaunch("data", "report", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_the_pod_may_write_beside_the_claim_and_takes_what_was_asked_for():
    pod = transfer_pod.pod_for_claim(
        "data", image="trainer:1", run_as={"user": 1, "group": 2, "fs_group": 2}, read_only=True,
        scratch=Scratch(cpu="3", memory="5Gi"),
    )  # fmt: skip
    (container,) = pod["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "3", "memory": "5Gi"},
        "limits": {"cpu": "3", "memory": "5Gi"},
    }
    assert container["volumeMounts"][0]["readOnly"] is True
    assert container["volumeMounts"][1] == {"name": "scratch", "mountPath": "/scratch"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
