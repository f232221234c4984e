"""Which folders of this machine a job on docker is given, and what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.backends.docker.users import ContainerUser, is_sensitive, make_folder

HOME = Path("/home/me")
NOBODY = ContainerUser(user=4711, group=4712, fs_group=4713)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone may give folders away")


@pytest.mark.parametrize("folder", [
    "/", "/etc", "/etc/kubernetes", "/root/.ssh", "/home", "/home/me", "/home/me/.ssh", "/home/me/.kube/x",
    "/var/run", "/var/lib/docker", "/usr/lib", "/proc/1", "/dev", "/home/me/.config/gcloud", "/srv",
    "/data/.aws",
])  # fmt: skip
def test_folders_with_keys_or_parts_of_the_system_are_known(folder):
    assert is_sensitive(Path(folder), home=HOME)


@pytest.mark.parametrize("folder", [
    "/home/me/flowers", "/data", "/mnt/nas/images", "/srv/data", "/tmp/x", "/dev/shm/images", "/var/tmp/x",
    "/home/me/.paddleclas/weights", "/home/me/.cache/x", "/opt/data", "/run/media/me/disk", "/etcetera",
    "/home/you/flowers",
])  # fmt: skip
def test_folders_of_data_are_not_in_the_way(folder):
    assert not is_sensitive(Path(folder), home=HOME)


@as_root
def test_as_root_a_folder_that_is_made_is_the_containers_and_one_that_is_there_stays(tmp_path):
    made = tmp_path / "a" / "made"
    assert make_folder(made, NOBODY) is None
    assert (made.stat().st_gid, made.stat().st_mode & 0o7777) == (NOBODY.fs_group, 0o2770)
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    before = there.stat()
    todo = make_folder(there, NOBODY)
    assert todo is not None
    assert f"`chgrp 4713 {there} && chmod g+rwxs {there}`" in todo
    assert (there.stat().st_mode, there.stat().st_gid) == (before.st_mode, before.st_gid)


@as_root
@pytest.mark.parametrize(
    ("owner", "mode"), [((4711, 0), 0o700), ((0, 4713), 0o770), ((0, 0), 0o777)], ids=str
)
def test_a_folder_that_the_containers_can_write_to_is_taken_as_it_is(tmp_path, owner, mode):
    there = tmp_path / "there"
    there.mkdir()
    os.chown(there, *owner)
    there.chmod(mode)
    assert make_folder(there, NOBODY) is None
    assert there.stat().st_mode & 0o7777 == mode
