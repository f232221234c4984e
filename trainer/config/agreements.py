"""What two sections of a config must agree on; each of them is right by itself."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.problems import KeyPath
from trainer.config.root import TrainConfig


def find_disagreements(config: TrainConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the sentence of each."""
    classes = config.arch.class_num
    for split in ("Train", "Eval"):
        for index, metric in enumerate(getattr(config.metric, split) or ()):
            too_many = [k for k in getattr(metric, "topk", ()) if k > classes]
            if too_many:
                yield (
                    ("Metric", split, index, type(metric).__name__, "topk"),
                    f"expected numbers of at most Arch.class_num, which is {classes}, got {too_many}; "
                    "leave them out",
                )
