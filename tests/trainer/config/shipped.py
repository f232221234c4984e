"""The configs that PaddleClas ships: where they are, and a table of them for machines that do not have them.

They are not part of this project. `PADDLECLAS_CONFIGS` names a folder of them (`ImageNet`, `PULC` and
`quick_start` of ppcls/configs, release/2.6, d178931). `shipped.tsv` was derived from it, a line a config: its
path, the networks that it names, and what it is refused for. After a change of the grammar, renew it with
`pytest -n 0 --update-goldens tests/trainer/config/test_shipped_configs.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.config.archs import DistillationArch
from trainer.config.load import load_config
from trainer.config.problems import ConfigError, Problem

TABLE = Path(__file__).with_name("shipped.tsv")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """One config.

    Attributes:
        path: Below the folder, such as `PULC/car_exists/PPLCNet_x1_0.yaml`.
        networks: Names of architectures; of a refused config, none.
        refused: Names that it is refused for, in the order of the file.
    """

    path: str
    networks: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\t".join((self.path, ",".join(self.networks), ",".join(self.refused)))


def read_table() -> list[Shipped]:
    """Return what was derived."""
    found = []
    for line in TABLE.read_text().splitlines():
        path, *rest = line.split("\t")
        networks, refused = (tuple(filter(None, names.split(","))) for names in rest)
        found.append(Shipped(path=path, networks=networks, refused=refused))
    return found


def find_folder() -> Path | None:
    """Return the folder of the real ones, or None."""
    named = os.environ.get("PADDLECLAS_CONFIGS")
    return Path(named) if named else None


def find_files(folder: Path) -> list[Path]:
    """List those that train; `search.yaml` are lists of trials, and Kunlun's need its device."""
    found = (file for part in ("ImageNet", "PULC", "quick_start") for file in (folder / part).rglob("*.yaml"))
    return sorted(file for file in found if file.name != "search.yaml" and "kunlun" not in file.name)


def describe(file: Path, folder: Path) -> Shipped:
    """Load one and say what came of it."""
    path = file.relative_to(folder).as_posix()
    try:
        config = load_config(file).config
    except ConfigError as error:
        in_order = sorted(error.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        refused = (_name(problem) for problem in in_order if not problem.warning)
        return Shipped(path=path, refused=tuple(dict.fromkeys(refused)))
    arch = config.arch
    parts = arch.by_name.values() if isinstance(arch, DistillationArch) else (arch,)
    return Shipped(path=path, networks=tuple(part.name for part in parts))


def _name(problem: Problem) -> str:
    named = re.search(r"got '(\w+)'", problem.message)
    if named:
        return named[1]
    words: Iterator[str] = (str(part) for part in problem.path if not isinstance(part, int))
    return ".".join(list(words)[-2:])
