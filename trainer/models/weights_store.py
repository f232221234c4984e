"""Files of pretrained weights on this machine: found in folders, or brought to the first writable one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trainer.errors import WeightsError
from trainer.models.download import DownloadError, Fetching, fetch, file_hash
from trainer.models.published import published_url
from trainer.protocol.codec import Count, decode
from trainer.protocol.environment import USERS_WEIGHTS


def home_folder(user_home: Path | None = None) -> Path:
    """Return where PaddleClas keeps a user's downloads (d178931, ppcls/utils/download.py)."""
    return (user_home or Path.home()) / ".paddleclas" / "weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Download:
    """What is written beside a file that was downloaded: bytes, and hexadecimal digits."""

    size: Count
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsStore:
    """Folders that hold weights.

    Attributes:
        folders: Searched in this order, then PaddleClas's own; a download goes to the first that can be
            written.
        offline: Download nothing.
        user_home: Whose PaddleClas folder is meant; None for the home folder of this process.
        home_is_lost: That folder is a container's own, and gone with it: nobody is told to put a file there.
    """

    folders: tuple[Path, ...] = ()
    offline: bool = False
    user_home: Path | None = None
    home_is_lost: bool = False

    @property
    def places(self) -> tuple[Path, ...]:
        """All folders that are searched."""
        return (*self.folders, home_folder(self.user_home))

    def find(self, url: str) -> Path | None:
        """Return the file of an address where one of the folders has it."""
        name = file_name(url)
        return next((folder / name for folder in self.places if (folder / name).is_file()), None)

    def obtain(
        self, url: str, *, say: Callable[[str], None], make: Callable[..., Fetching] = Fetching
    ) -> Path:
        """Return the file of an address, downloaded where no folder has it.

        Args:
            url: Of a `.pdparams`.
            say: Takes a line for people.
            make: Makes how to fetch.

        Raises:
            WeightsError: It is not here and cannot be had, or is not what was downloaded once.
        """
        found = self.find(url)
        if found is not None:
            check_record(found)
            return found
        target = self._target(url)
        where = f"{self._where_to_put(target)}, or set Arch.pretrained to the path of your copy"
        if self.offline:
            raise WeightsError(
                where=url,
                expected=f"{target.name} here",
                got="none, and downloads are off",
                fix=where,
            )
        try:
            fetch(url, target, make(say=say))
        except DownloadError as error:
            raise WeightsError(f"{error}; {where}") from error
        except OSError as error:
            raise WeightsError(f"{target}: expected a folder to write to: {error}; {where}") from error
        return target

    def _target(self, url: str) -> Path:
        name = file_name(url)
        return next((folder for folder in self.places if _can_write(folder)), self.places[-1]) / name

    def _where_to_put(self, target: Path) -> str:
        """Say where a person can put the file so that it is there the next time too."""
        if not self.home_is_lost or target.parent != self.places[-1]:
            return f"put it at {target}"
        if self.folders and str(self.folders[-1]) == USERS_WEIGHTS:
            return f"put {target.name} into ~/.paddleclas/weights of the machine that submits"
        if self.folders:
            return f"put {target.name} on the volume that is mounted at {self.folders[-1]}"
        return f"put {target.name} on a volume and name that as Launch.weights"


OFFLINE = WeightsStore(offline=True)
"""PaddleClas's own folder as it is."""


def file_name(url: str) -> str:
    """Return the name under which an address is kept, as PaddleClas keeps it.

    Raises:
        WeightsError: The address names no file.
    """
    name = Path(urlsplit(url).path).name
    if not name:
        raise WeightsError(
            where=url, expected="the address of a .pdparams file", got="one without a file name"
        )
    return name


def is_url(text: str) -> bool:
    """Return whether `pretrained` is an address and no path."""
    return text.startswith(("http://", "https://"))


def address_of(name: str, *, use_ssld: bool) -> str:
    """Return where an architecture's weights are published.

    Raises:
        WeightsError: They are not.
    """
    url = published_url(name, use_ssld=use_ssld)
    if url is None:
        raise WeightsError(
            where=name,
            expected="weights that PaddleClas publishes",
            got="none for it",
            fix="set Arch.pretrained to a path, or to False",
        )
    return url


def check_record(path: Path) -> None:
    """Hold a file against the size and hash that its download recorded; without a record, all is well.

    Raises:
        WeightsError: It has changed since.
    """
    try:
        beside = path.with_name(path.name + ".json")
        record = decode(_Download, beside.read_bytes(), where=str(beside))
        expected = (record.size, record.sha256)
    except (OSError, ValueError):
        return
    found = (path.stat().st_size, file_hash(path))
    if found != expected:
        raise WeightsError(
            where=str(path),
            expected=f"{expected[0]} bytes with SHA-256 {expected[1][:12]}…, as downloaded",
            got=f"{found[0]} with {found[1][:12]}…",
            fix=f"delete it and {path.name}.json to download it again",
        )


def _can_write(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
