"""PaddleClas's names in the output folder: `latest`, `best_model`, `epoch_N`, each with three endings.

They are second names of files in a checkpoint folder, refreshed after it is whole, for people and for tools;
our own reader does not trust them. Names: PaddleClas d178931, ppcls/utils/save_load.py.
"""

from __future__ import annotations

from pathlib import Path

from trainer.checkpoints.contents import OPTIMIZER, PARAMS, RAW, STATES, STUDENT
from trainer.checkpoints.store import Checkpoint
from trainer.protocol.safe_files import link_or_copy, make_folders, remove

BEST = "best_model"
AVERAGED = "averaged"
"""Ours: what `trainer ckpt average` writes."""
_ENDINGS = {PARAMS: ".pdparams", OPTIMIZER: ".pdopt", STATES: ".pdstates"}


def publish(checkpoint: Checkpoint, output_dir: Path, *, name: str) -> None:
    """Give a checkpoint's files one of PaddleClas's names: `latest`, `best_model` or `epoch_N`.

    Raises:
        UnsafePathError: The folder `best_model` is a link.
        OSError: The output folder cannot be written.
    """

    def link(source: Path, target: Path) -> None:
        link_or_copy(source, target, root=output_dir)

    for file_name, ending in _ENDINGS.items():
        link(checkpoint.folder / file_name, output_dir / f"{name}{ending}")
    raw = checkpoint.folder / RAW
    if raw.exists():
        link(raw, output_dir / f"{name}.pdema")
    else:  # of a run that had an average
        remove(output_dir / f"{name}.pdema", root=output_dir)
    if name == BEST:
        student = checkpoint.folder / STUDENT
        if student.exists():
            link(student, output_dir / f"{name}_student.pdparams")
        folder = output_dir / name
        make_folders(folder, root=output_dir)
        link(raw if raw.exists() else checkpoint.folder / PARAMS, folder / "model.pdparams")
