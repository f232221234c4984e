"""Fetches one file over HTTP: resumed after a cut, checked, renamed into place when it is whole.

Must not: know what the file is for. Whoever holds the lock beside the file downloads; others wait and say so.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trainer.errors import TrainerError
from trainer.protocol.file_locks import lock
from trainer.protocol.safe_files import create_file, open_append, replace_file

_CHUNK_BYTES = 1 << 20


class DownloadError(TrainerError):
    """A file could not be fetched."""


class _TryAgainError(Exception):
    """This try failed, the next may not."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's redirection as far as what it protects is kept."""

    def redirect_request(  # noqa: PLR0917 - as the base class calls it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse one that leaves HTTP, or goes from an encrypted connection to a plain one."""
        allowed = ("https://",) if req.full_url.startswith("https://") else ("https://", "http://")
        if not newurl.lower().startswith(allowed):
            raise DownloadError(
                where=str(req.full_url),
                expected=f"a redirection to {' or '.join(allowed)}",
                got=repr(newurl),
                fix="fetch it by hand if you trust that address",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetching:
    """How to fetch.

    Attributes:
        say: Takes a line for people.
        timeout_s: Of each wait for the server, not of the whole.
        tries: Before it gives up; a try that brought bytes is not counted.
        pause_s: Before the second try, doubled after each.
        wait_s: For another process that fetches the same file.
        said_every_s: Between two lines of progress.
        sleep: Waits that many seconds.
        now: A clock in seconds.
    """

    say: Callable[[str], None]
    timeout_s: float = 30.0
    tries: int = 5
    pause_s: float = 1.0
    wait_s: float = 1800.0
    said_every_s: float = 10.0
    sleep: Callable[[float], None] = field(default=time.sleep)
    now: Callable[[], float] = field(default=time.monotonic)


def fetch(url: str, target: Path, fetching: Fetching) -> None:
    """Bring `url` to `target`, and write `<target>.json` with address, size and SHA-256.

    Raises:
        DownloadError: It cannot be had, is not whole, or another process takes too long over it.
        OSError: The folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(target.name + ".lock"), fetching):
        if target.exists():
            return  # somebody else has just brought it
        part = target.with_name(target.name + ".part")
        pause, failures, last = fetching.pause_s, 0, ""
        while True:
            before = _size(part)
            try:
                _try(url, part, fetching)
                break
            except _TryAgainError as error:
                failures = 0 if _size(part) > before else failures + 1
                if failures >= fetching.tries:
                    raise DownloadError(f"{url}: {error}; tried {failures} times") from error
                # An address and a reason of a library are long: who reads them once knows them.
                head = "the same again" if str(error) == last else f"{url}: {error}"
                last = str(error)
                fetching.say(f"{head}; trying again in {pause:g} s ({failures} of {fetching.tries} tries)")
                fetching.sleep(pause)
                pause = min(2 * pause, 60.0)
        record = {"url": url, "size": _size(part), "sha256": file_hash(part)}
        replace_file(target.with_name(target.name + ".json"), json.dumps(record, indent=2).encode())
        part.replace(target)
        fetching.say(f"{url}: {_mebibytes(_size(target))} in {target}")


def file_hash(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _try(url: str, part: Path, fetching: Fetching) -> None:
    """Fetch what is missing of a file."""
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: expected an address with http or https")
    start = _size(part)
    headers = {"User-Agent": "ftlaunch", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) only, as above
        with _OPENER.open(request, timeout=fetching.timeout_s) as answer:
            whole = _whole_size(answer, start)
            if start and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0  # the server knows no ranges and sends all of it again
            _copy(answer, part, start=start, whole=whole, url=url, fetching=fetching)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)  # longer than the file is now: begin anew
                raise _TryAgainError("the file changed meanwhile") from error
            reason = f"the server answered {error.code} {error.reason}"
            if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
                raise _TryAgainError(reason) from error
            raise DownloadError(f"{url}: {reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgainError(f"{type(error).__name__}: {error}") from error


def _whole_size(answer: http.client.HTTPResponse, start: int) -> int | None:
    """Return the size of the whole file in bytes, where the server says it."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        sent = answer.headers.get("Content-Range", "")
        unit, _, rest = sent.partition(" ")
        first, _, total = rest.partition("/")
        if unit != "bytes" or first.partition("-")[0] != str(start) or not total.isdigit():
            raise DownloadError(
                where=str(answer.url), expected=f"bytes from {start} on", got=f"the range {sent!r}"
            )
        return int(total)
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _copy(
    answer: http.client.HTTPResponse, part: Path, *, start: int, whole: int | None, url: str,
    fetching: Fetching,
) -> None:  # fmt: skip
    done, said = start, fetching.now()
    with open_append(part) if start else create_file(part) as file:
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            if fetching.now() - said >= fetching.said_every_s:
                said = fetching.now()
                of = f" of {_mebibytes(whole)}" if whole else ""
                fetching.say(f"{url}: {_mebibytes(done)}{of}")
        file.flush()
        os.fsync(file.fileno())
    if whole is not None and done != whole:
        if done > whole:
            part.unlink()
        raise _TryAgainError(f"expected {whole} bytes, got {done}")


@contextlib.contextmanager
def _locked(path: Path, fetching: Fetching) -> Iterator[None]:
    began = said = fetching.now()
    # In a folder that others write to, a link may stand at any name: it is not followed, and a file that is
    # there is locked as it is.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
        while not lock(file.fileno(), wait=False):
            waited = fetching.now() - began
            if waited >= fetching.wait_s:
                raise DownloadError(
                    f"{path}: waited {waited:.0f} s for another process that fetches the same file"
                )
            if fetching.now() - said >= fetching.said_every_s:
                said = fetching.now()
                fetching.say(f"{path}: waiting for another process that fetches the same file")
            fetching.sleep(0.5)
        yield


def _size(path: Path) -> int:
    """Return the size of a file of ours in bytes; what else stands at the name is none, and is replaced."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"
