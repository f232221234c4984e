from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from trainer.protocol import code_archive
from trainer.protocol.code_archive import CodeError, pack, unpack


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "my"
    (folder / "sub").mkdir(parents=True)
    (folder / "parts.py").write_text("A = 1\n")
    (folder / "sub" / "tool.sh").write_text("echo\n")
    (folder / "sub" / "tool.sh").chmod(0o700)
    (folder / "sub" / "blümchen.py").write_text("")
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def save(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    """Write an archive as somebody else might; returns its hash."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(gzip.compress(plain.getvalue()))
    return hashlib.sha256(plain.getvalue()).hexdigest()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def test_what_is_unpacked_is_what_was_packed(files, tmp_path):
    made = pack(files)
    assert (made.files, made.size_bytes) == (3, sum(path.stat().st_size for path in files.values()))
    (tmp_path / "code.tar.gz").write_bytes(made.data)
    (tmp_path / "into").mkdir()
    assert unpack(tmp_path / "code.tar.gz", tmp_path / "into", sha256=made.sha256) == 3
    for name, path in files.items():
        assert (tmp_path / "into" / name).read_bytes() == path.read_bytes()
        assert os.access(tmp_path / "into" / name, os.X_OK) == (name == "sub/tool.sh")


def test_the_same_files_make_the_same_bytes_whenever_and_in_whatever_order(files):
    made = pack(files)
    for path in files.values():
        os.utime(path, (1, 1))
        path.chmod(path.stat().st_mode | 0o066)
    assert pack(dict(reversed(files.items()))) == made
    files["parts.py"].write_text("A = 2\n")
    assert pack(files).sha256 != made.sha256


@pytest.mark.parametrize(
    "bad",
    [
        member("../out.py"), member("/abs.py"), member("a/../../b.py"), member("a\\..\\b.py"),
        member("link.py", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.py", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        member("pipe", type=tarfile.FIFOTYPE), member("folder", type=tarfile.DIRTYPE),
    ],
    ids=lambda bad: bad.name,
)  # fmt: skip
def test_nothing_but_plain_files_below_the_folder_is_unpacked(bad, tmp_path):
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    sha256 = save(tmp_path / "code.tar.gz", (bad, b""))
    with pytest.raises(CodeError, match="expected plain files with relative names"):
        unpack(tmp_path / "code.tar.gz", into, sha256=sha256)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "code.tar.gz"]


def test_another_archive_is_refused_before_anything_is_written(files, tmp_path):
    (tmp_path / "code.tar.gz").write_bytes(pack(files).data)
    (tmp_path / "into").mkdir()
    with pytest.raises(CodeError, match="expected the code with the SHA-256 0000"):
        unpack(tmp_path / "code.tar.gz", tmp_path / "into", sha256="0" * 64)
    assert list((tmp_path / "into").iterdir()) == []


def test_more_than_code_can_be_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(code_archive, "_TAR_BYTES", 1 << 20)
    (tmp_path / "code.tar.gz").write_bytes(gzip.compress(bytes(3 << 20)))
    (tmp_path / "into").mkdir()
    with pytest.raises(CodeError, match="at most 1,048,576 bytes"):
        unpack(tmp_path / "code.tar.gz", tmp_path / "into", sha256="0" * 64)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no tar" * 200)[:-9]], ids=["empty", "text", "cut short"]
)
def test_something_broken_is_refused(content, tmp_path):
    (tmp_path / "code.tar.gz").write_bytes(content)
    (tmp_path / "into").mkdir()
    with pytest.raises(CodeError):
        unpack(tmp_path / "code.tar.gz", tmp_path / "into", sha256=hashlib.sha256(b"").hexdigest()[::-1])
