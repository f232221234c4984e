"""Training in this process, and what comes before and after it: `trainer.api` and `trainer.preparation`.

Most need what the trainer needs (the extra `trainer` or `gpu`), and raise `MissingPackagesError` without it.
Paddle is imported when one of them is first called.
"""

from trainer.api import average_checkpoints, evaluate, export, predict, train
from trainer.batch_size import fit_batch
from trainer.comparison import compare_weights
from trainer.data_reporting import report_data
from trainer.preparation import (
    check,
    convert_weights,
    fetch_weights,
    find_rate,
    inspect_weights,
    list_weights,
    make_lists,
    profile_steps,
    resize,
)

__all__ = [
    "average_checkpoints",
    "check",
    "compare_weights",
    "convert_weights",
    "evaluate",
    "export",
    "fetch_weights",
    "find_rate",
    "fit_batch",
    "inspect_weights",
    "list_weights",
    "make_lists",
    "predict",
    "profile_steps",
    "report_data",
    "resize",
    "train",
]
