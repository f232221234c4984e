from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from launcher.errors import NotFoundError
from launcher.volumes import agent, transfer
from launcher.volumes.place import Folder, VolumeError

CUT = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
left = 150_000
while left > 0:
    data = os.read(child.stdout.fileno(), left)
    os.write(1, data)
    left -= len(data)
child.kill()
sys.exit(1)
"""
"""Runs a program and cuts what it says."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "train" / "a class").mkdir(parents=True)
    draw = random.Random(7)
    for name, size in (("train/a class/1.png", 300_000), ("train/ünïcode\n.png", 1), ("empty", 0)):
        (folder / name).write_bytes(draw.randbytes(size))
    (folder / "train_list.txt").write_text("train/a class/1.png 0\n./empty 1\n")
    return folder


def test_what_was_pushed_is_there_and_does_not_go_again(images, tmp_path):
    place, files = Folder(tmp_path / "claim" / "new"), transfer.describe(images)
    (tmp_path / "claim").mkdir()
    assert [delta.file for delta in transfer.push(place, images, files)] == files
    assert transfer.describe(tmp_path / "claim" / "new") == files
    assert transfer.push(place, images, files) == []
    assert transfer.compare(place, files) == []


def test_only_what_differs_goes(images, tmp_path):
    place, files = Folder(tmp_path / "claim"), transfer.describe(images)
    transfer.push(place, images, files)
    (tmp_path / "claim" / "empty").write_text("not any more")
    (tmp_path / "claim" / "train" / "a class" / "1.png").unlink()
    (tmp_path / "claim" / "more").touch()
    assert [delta.file.path for delta in transfer.compare(place, files)] == ["empty", "train/a class/1.png"]
    assert len(transfer.push(place, images, files)) == 2
    assert transfer.compare(place, files) == []


def test_a_pull_goes_on_from_a_part(images, tmp_path):
    to, files = tmp_path / "here", transfer.describe(images)
    (to / "train" / "a class").mkdir(parents=True)
    whole = (images / "train/a class/1.png").read_bytes()
    agent.part_of(to / "train/a class/1.png").write_bytes(whole[:200_000])
    passed: list[int] = []
    came = transfer.pull(Folder(images), files, within="", to=to, progress=passed.append)
    assert {delta.file.path: delta.offset for delta in came}["train/a class/1.png"] == 200_000
    assert transfer.describe(to) == files
    assert 100_000 < sum(passed) < 200_000


def test_a_cut_connection_costs_only_what_had_not_come(images, tmp_path):
    class Cutting(Folder):
        def start(self, argv):
            return super().start((argv[0], "-c", CUT, *argv) if "send" in argv else argv)

    to = tmp_path / "here"
    files = [file for file in transfer.describe(images) if file.path.endswith("1.png")]
    with pytest.raises(VolumeError):
        transfer.pull(Cutting(images), files, within="", to=to)
    (delta,) = transfer.pull(Folder(images), files, within="", to=to)
    assert delta.offset > 100_000
    assert agent.hash_file(to / files[0].path) == files[0].sha256


def test_a_file_that_is_not_what_was_promised_is_not_taken(images, tmp_path):
    files = [dataclasses.replace(file, sha256="0" * 64) for file in transfer.describe(images)]
    with pytest.raises(VolumeError, match="expected the SHA-256 0000"):
        transfer.pull(Folder(images), files, within="", to=tmp_path / "here")
    assert transfer.describe(tmp_path / "here") == []


def test_what_the_porter_says_is_told(images, tmp_path):
    files = transfer.describe(images)
    with pytest.raises(NotFoundError, match=r"expected the folder .*none'"):
        transfer.pull(Folder(tmp_path / "none"), files, within="", to=tmp_path / "here")
    (images / "empty").unlink()
    with pytest.raises(VolumeError, match="empty: No such file"):
        transfer.pull(Folder(images), files, within="", to=tmp_path / "there")


def test_a_target_that_is_a_file_is_told(images, tmp_path):
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim" / "train").touch()
    with pytest.raises(VolumeError, match="train"):
        transfer.push(Folder(tmp_path / "claim"), images, transfer.describe(images))
