from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.protocol import safe_files
from trainer.protocol.folders import DescriptorFolder, PathFolder
from trainer.protocol.safe_files import (
    UnsafePathError,
    create_file,
    link_or_copy,
    make_folders,
    make_private_folder,
    open_append,
    read_file,
    remove,
    rename,
    replace_file,
)

Write = Callable[[Path, Path], None]
"""Writes at a path below a root."""


def append(path: Path, root: Path) -> None:
    with open_append(path, root=root) as file:
        file.write(b"ours")


def create(path: Path, root: Path) -> None:
    with create_file(path, root=root) as file:
        file.write(b"ours")


def replace(path: Path, root: Path) -> None:
    replace_file(path, b"ours", root=root)


def link(path: Path, root: Path) -> None:
    source = root / "source"
    source.write_bytes(b"ours")
    link_or_copy(source, path, root=root)


WRITES = {"append": append, "create": create, "replace": replace, "link": link}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@pytest.fixture(autouse=True, params=[DescriptorFolder, PathFolder], ids=["by-descriptor", "by-path"])
def _form_of_folders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test holds for both, where nobody puts a link between a look and the act."""
    monkeypatch.setattr(safe_files, "open_folder", request.param)


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "precious"
    file.parent.mkdir()
    file.write_bytes(b"precious")
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@every_write
def test_a_link_at_the_name_leaves_what_it_leads_to_alone(write: Write, root: Path, precious: Path):
    (root / "file").symlink_to(precious)
    if write is append:
        with pytest.raises(
            UnsafePathError, match=r"output/file: expected a file, got a symbolic link; remove"
        ):
            write(root / "file", root)
    else:
        write(root / "file", root)
        assert (root / "file").read_bytes() == b"ours"
        assert not (root / "file").is_symlink()
    assert precious.read_bytes() == b"precious"


@every_write
def test_a_second_name_of_another_file_does_not_change_it(write: Write, root: Path, precious: Path):
    os.link(precious, root / "file")
    if write is append:
        with pytest.raises(UnsafePathError, match="expected a file of its own, got one of 2 names"):
            write(root / "file", root)
    else:
        write(root / "file", root)
        assert (root / "file").read_bytes() == b"ours"
    assert precious.read_bytes() == b"precious"


@every_write
@pytest.mark.parametrize("name", ["file.tmp"])
def test_a_link_at_the_partial_file_leaves_what_it_leads_to_alone(
    write: Write, root: Path, precious: Path, name: str
):
    (root / name).symlink_to(precious)
    write(root / "file", root)
    assert (root / "file").read_bytes() == b"ours"
    assert precious.read_bytes() == b"precious"


@every_write
def test_a_folder_on_the_way_that_is_a_link_is_refused_by_name(write: Write, root: Path, precious: Path):
    (root / "inner").symlink_to(precious.parent, target_is_directory=True)
    with pytest.raises(UnsafePathError) as caught:
        write(root / "inner" / "precious", root)
    assert caught.value.where == str(root / "inner")
    assert caught.value.got == "a symbolic link"
    assert [path.name for path in precious.parent.iterdir()] == ["precious"]
    assert precious.read_bytes() == b"precious"


@every_write
def test_the_roots_own_path_may_lead_over_links(write: Write, root: Path, tmp_path: Path):
    (tmp_path / "latest").symlink_to(root, target_is_directory=True)
    write(tmp_path / "latest" / "file", tmp_path / "latest")
    assert (root / "file").read_bytes() == b"ours"


def test_nothing_is_made_behind_a_link(root: Path, precious: Path):
    (root / "state").symlink_to(precious.parent, target_is_directory=True)
    with pytest.raises(UnsafePathError):
        make_folders(root / "state" / "checkpoints", root=root)
    assert not (precious.parent / "checkpoints").exists()


def test_folders_are_made_with_those_between_and_the_root(tmp_path: Path):
    make_folders(tmp_path / "new" / "a" / "b", root=tmp_path / "new")
    make_folders(tmp_path / "new" / "a" / "b", root=tmp_path / "new")
    assert (tmp_path / "new" / "a" / "b").is_dir()


def test_removing_a_link_or_a_folder_with_links_leaves_what_they_lead_to(root: Path, precious: Path):
    (root / "link").symlink_to(precious.parent, target_is_directory=True)
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "inner" / "link").symlink_to(precious.parent, target_is_directory=True)
    for name in ("link", "folder", "missing"):
        remove(root / name, root=root)
    assert list(root.iterdir()) == []
    assert precious.read_bytes() == b"precious"


def test_renaming_does_not_lead_out_of_the_root(root: Path, precious: Path):
    (root / "file").write_bytes(b"ours")
    (root / "inner").symlink_to(precious.parent, target_is_directory=True)
    with pytest.raises(UnsafePathError):
        rename(root / "file", root / "inner" / "precious", root=root)
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_only_regular_files_are_read_and_none_blocks(root: Path, precious: Path, kind: str):
    place = root / "place"
    {
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
        "link": lambda: place.symlink_to(precious),
    }[kind]()
    with pytest.raises(UnsafePathError, match="expected a file, got a"):
        read_file(place, max_bytes=100, root=root)
    with pytest.raises(UnsafePathError, match="expected a file, got a"):
        append(place, root)


def test_more_than_was_allowed_is_not_read(root: Path):
    (root / "file").write_bytes(b"12345")
    assert read_file(root / "file", max_bytes=5, root=root) == b"12345"
    with pytest.raises(UnsafePathError, match="expected at most 4 bytes, got more"):
        read_file(root / "file", max_bytes=4, root=root)


def test_errors_name_the_whole_path(root: Path):
    with pytest.raises(FileNotFoundError, match=str(root / "missing")):
        read_file(root / "missing", max_bytes=1, root=root)
    with pytest.raises(FileNotFoundError, match=str(root / "none")):
        replace(root / "none" / "file", root)


def test_a_path_that_leaves_the_root_is_a_mistake_of_the_caller(root: Path):
    with pytest.raises(ValueError, match=r"without '\.\.'"):
        replace(root / ".." / "file", root)


def test_a_private_folder_is_ours_alone(tmp_path: Path):
    make_private_folder(tmp_path / "a" / "private")
    make_private_folder(tmp_path / "a" / "private")
    assert (tmp_path / "a" / "private").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(UnsafePathError, match="expected a folder that others cannot enter, got mode 755"):
        make_private_folder(tmp_path / "open")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "private")
    with pytest.raises(UnsafePathError, match="expected a folder, got a symbolic link"):
        make_private_folder(tmp_path / "link")


def test_what_cannot_be_written_whole_leaves_no_part(tmp_path: Path, monkeypatch):
    (tmp_path / "report").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "report", b"new" * 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report").read_bytes() == b"old"
