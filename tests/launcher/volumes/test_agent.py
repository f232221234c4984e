"""What the agent takes from an archive, whoever wrote it."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from launcher.volumes import agent
from launcher.volumes.place import SOURCE

CONTENT = b"flowers" * 1000


def wanted(content: bytes = CONTENT) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return io.BytesIO(out.getvalue())


def plain(name: str, content: bytes = CONTENT, *, offset: int = 0) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.pax_headers = {agent.OFFSET: str(offset)}
    return member, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


HOSTILE = {
    "parent": plain("../out"),
    "deep parent": plain("a/../../out"),
    "absolute": plain("/tmp/ftlaunch-out"),
    "dot": plain("./a"),
    "empty part": plain("a//b"),
    "symbolic link": special("a", tarfile.SYMTYPE, "../out"),
    "absolute link": special("a", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": special("a", tarfile.LNKTYPE, "../out"),
    "device": special("a", tarfile.CHRTYPE),
    "fifo": special("a", tarfile.FIFOTYPE),
    "folder": special("a", tarfile.DIRTYPE),
    "another file": plain("b"),
    "too long": plain("a", CONTENT + b"x"),
    "too short": plain("a", CONTENT[:-1]),
    "another content": plain("a", b"x" * len(CONTENT)),
    "an offset beyond": plain("a", CONTENT[9:], offset=9),
    "a negative offset": plain("a", CONTENT + b"123456789", offset=-9),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_are_refused_and_leave_nothing(tmp_path, member):
    root = tmp_path / "root"
    root.mkdir()
    names = {"a", member[0].name} - {"b"}
    with pytest.raises((agent.RefusedError, ValueError)):
        list(agent.receive_files(root, dict.fromkeys(names, wanted()), archive(member)))
    left = {name for name in everything(tmp_path) if (tmp_path / name).is_file()}
    assert all(name.endswith(agent.PART_SUFFIX) for name in left)
    assert not Path("/tmp/ftlaunch-out").exists()


@pytest.mark.parametrize("cut", [0, 100, 512, -600])
def test_an_archive_that_ends_early_is_refused_and_what_came_stays(tmp_path, cut):
    data = archive(plain("a")).getvalue()
    with pytest.raises(agent.RefusedError, match="whole archive"):
        list(agent.receive_files(tmp_path, {"a": wanted()}, io.BytesIO(data[: len(data) // 2 + cut])))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("where", ["folder", "file", "part"])
def test_no_link_on_the_way_is_followed(tmp_path, where):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a").write_bytes(b"precious")
    if where == "folder":
        (root / "d").symlink_to(outside)
    else:
        (root / "d").mkdir()
        link = root / "d" / "a"
        (link if where == "file" else agent.part_of(link)).symlink_to(outside / "a")
    with pytest.raises((agent.RefusedError, OSError)):
        list(agent.receive_files(root, {"d/a": wanted()}, archive(plain("d/a"))))
    assert (outside / "a").read_bytes() == b"precious"


def test_a_part_is_gone_on_from_where_it_ends(tmp_path):
    agent.part_of(tmp_path / "a").write_bytes(CONTENT[:4000])
    assert list(agent.stat_files(tmp_path, ["a"], hashes=True)) == [{"path": "a", "part": 4000}]
    out = io.BytesIO()
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(CONTENT)
    agent.send_files(source, [("a", 4000)], out)
    assert len(out.getvalue()) < 20000
    assert list(agent.receive_files(tmp_path, {"a": wanted()}, io.BytesIO(out.getvalue()))) == ["a"]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert not agent.part_of(tmp_path / "a").exists()


def test_a_wrong_part_is_thrown_away_so_that_the_next_try_begins_anew(tmp_path):
    agent.part_of(tmp_path / "a").write_bytes(b"x" * 4000)
    with pytest.raises(agent.RefusedError, match="SHA-256"):
        list(agent.receive_files(tmp_path, {"a": wanted()}, archive(plain("a", CONTENT[4000:], offset=4000))))
    assert everything(tmp_path) == set()


def test_links_and_parts_are_not_walked_into(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "link").symlink_to("/etc/passwd")
    agent.part_of(tmp_path / "d" / "x").touch()
    assert list(agent.walk(tmp_path)) == ["d/e/file"]


def test_its_text_needs_nothing_but_python(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SOURCE, "stat", str(tmp_path)],
        input=b'{"files": ["a", "none", "../a"], "hashes": true}\n', capture_output=True, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [
        {"ready": True, "writable": True}, {"path": "a", **wanted()}, {"path": "none"},
    ]  # fmt: skip
    assert done.returncode == 9
    assert b"'../a': expected a path below the folder" in done.stderr


def test_a_part_that_has_a_second_name_is_not_written_to(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    agent.part_of(tmp_path / "work" / "a").hardlink_to(tmp_path / "precious")
    with pytest.raises(agent.RefusedError, match="a file of its own"):
        list(agent.receive_files(tmp_path / "work", {"a": wanted()}, archive(plain("a"))))
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_pipe_in_place_of_a_part_stops_nobody(tmp_path):
    os.mkfifo(agent.part_of(tmp_path / "a"))
    with pytest.raises((agent.RefusedError, OSError)):
        list(agent.receive_files(tmp_path, {"a": wanted()}, archive(plain("a"))))


@pytest.mark.parametrize(("code", "name", "said", "exit_code"), [
    (errno.EACCES, ".a.ftlaunch-part", "with mode 750", agent.EXIT_DENIED),
    (errno.EPERM, "deep/er/a", "with mode 750", agent.EXIT_DENIED),
    (errno.EROFS, "a", "read-only file system", agent.EXIT_READ_ONLY),
    (errno.ENOSPC, "a", "no space left on device", agent.EXIT_FULL),
])  # fmt: skip
def test_what_the_system_refuses_is_said_with_whose_the_folder_is(tmp_path, code, name, said, exit_code):
    tmp_path.chmod(0o750)
    error = OSError(code, os.strerror(code), str(tmp_path / name))
    text = agent.describe_error(error)
    assert text.startswith(str(tmp_path))
    assert text.endswith(said)
    assert agent.exit_of(error) == exit_code
    assert "ftlaunch-part" not in text
    assert (f"belongs to user {os.getuid()} and group" in text) == (exit_code == agent.EXIT_DENIED)


def test_a_refusal_of_ours_is_said_as_it_is():
    error = agent.RefusedError("'../a': expected a path below the folder")
    assert (agent.describe_error(error), agent.exit_of(error)) == (str(error), 9)
