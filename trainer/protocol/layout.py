"""Where things lie in an output folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.protocol.codec import Count
from trainer.protocol.runfile import CHECKPOINTS, FOLDER
from trainer.protocol.writerlock import LOCK

MANIFEST = "manifest.json"
"""In a checkpoint's folder, a `Manifest`."""
MANIFEST_SCHEMA = 1
_NAME = re.compile(r"e(\d{3,})-s(\d{6,})")
# No dot in front, nothing that a shell, Python or ftlaunch itself would read from a folder that one works in,
# and none of the names that are devices wherever they stand on Windows.
_FILE = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)\.)[a-z0-9][a-z0-9_-]{0,63}\.(?:pdparams|pdopt|pdstates|pdema|safetensors)"
    r"|(?:state|settings)\.json",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class CheckpointName:
    """Place of a checkpoint in its run: epochs completed and optimizer steps completed."""

    epoch: int
    step: int

    def __str__(self) -> str:
        return f"e{self.epoch:03d}-s{self.step:06d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedFile:
    """A file as it was saved: bytes, and hexadecimal digits."""

    size: Count
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a checkpoint's folder holds; written last, so that a folder without one is no checkpoint.

    Attributes:
        run_id: Run that wrote it.
        name: Of the folder.
        files: Name -> file.
    """

    run_id: str
    name: str = ""
    files: Mapping[str, SavedFile]


def parse_checkpoint_name(text: str) -> CheckpointName | None:
    """Read a folder's name, such as `e003-s001200`; None where it is not a checkpoint's."""
    match = _NAME.fullmatch(text)
    return CheckpointName(int(match[1]), int(match[2])) if match else None


def is_checkpoint_file(name: str) -> bool:
    """Whether a checkpoint has files of this name: weights, states, and what describes them."""
    return _FILE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class OutputLayout:
    """Paths below `Global.output_dir`."""

    output_dir: Path

    @property
    def state_dir(self) -> Path:
        """Our own folder; everything that is trusted on resume lies here."""
        return self.output_dir / FOLDER

    @property
    def checkpoints_dir(self) -> Path:
        """Folder of the checkpoint folders."""
        return self.state_dir / CHECKPOINTS

    @property
    def pointer(self) -> Path:
        """File that names the latest whole checkpoint."""
        return self.checkpoints_dir / "latest"

    @property
    def best_pointer(self) -> Path:
        """File that names the checkpoint with the best evaluation."""
        return self.checkpoints_dir / "best"

    @property
    def metrics(self) -> Path:
        """metrics.jsonl, append-only."""
        return self.output_dir / "metrics.jsonl"

    @property
    def writer_lock(self) -> Path:
        """Lock of the one writer."""
        return self.state_dir / LOCK

    def checkpoint_dir(self, name: CheckpointName) -> Path:
        """Folder of one checkpoint."""
        return self.checkpoints_dir / str(name)
