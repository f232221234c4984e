"""The tables of names that are known before their modules are imported, against the modules themselves."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import trainer.config
from trainer.config import (
    archs,
    batch_ops,
    data,
    infer,
    losses,
    metrics,
    ops,
    ops_apply,
    optimizers,
    samplers,
    schedules,
)
from trainer.config.declaration import Catalogue, Declaration, Later

CATALOGUES = {
    "archs": archs.ARCHS, "batch_ops": batch_ops.BATCH_OPS, "datasets": data.DATASETS,
    "losses": losses.LOSSES, "metrics": metrics.METRICS, "ops": ops.OPS, "optimizers": optimizers.OPTIMIZERS,
    "post_processes": infer.POST_PROCESSES, "samplers": samplers.SAMPLERS, "schedules": schedules.SCHEDULES,
}  # fmt: skip
UNNAMED = {
    "ImageOp", "SizedOp", "BaseArch", "ChannelsFirstArch", "TransformerArch", "DistillationLoss", "OfPairs",
    "BaseOptimizer", "BaseMetric", "Paced", "Warm", "Swallowing", "Based",  # bases
    "EfficientNetOverrides", "Regularizer", "SampledFmix", "SampledMixup", "SampledCutmix",  # parts of others
}  # fmt: skip
"""Declarations that no place of a config names."""


@pytest.mark.parametrize("catalogue", CATALOGUES.values(), ids=CATALOGUES)
def test_each_name_leads_to_the_declaration_that_has_it(catalogue: Catalogue) -> None:
    for item in catalogue.items:
        for name in item.known_names():
            found = catalogue.find(name)
            assert found is not None
            assert found.known_names() == item.known_names()
    assert catalogue.names() == [name for declaration in catalogue for name in declaration.known_names()]


def test_a_table_names_the_module_that_declares() -> None:
    items = [item for catalogue in CATALOGUES.values() for item in catalogue.items if isinstance(item, Later)]
    assert items
    assert [item.load().__module__ for item in items] == [item.module for item in items]


def test_every_declaration_is_in_one_catalogue() -> None:
    listed = [declaration for catalogue in CATALOGUES.values() for declaration in catalogue]
    declared = {
        member
        for module in pkgutil.iter_modules(trainer.config.__path__)
        for member in vars(import_module(f"trainer.config.{module.name}")).values()
        if inspect.isclass(member) and issubclass(member, Declaration) and member is not Declaration
        if not member.__name__.startswith("_") and not member.__name__.startswith("Extra")
    }
    assert len(listed) == len(set(listed))
    assert {item for item in declared if item.__name__ not in UNNAMED} == {*listed, *ops_apply.APPLIED_OPS}


def test_names_that_a_config_does_not_have_are_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.config.load import load_config\n"
        "load_config(Path('examples/ResNet50_vd.yaml'))\n"
        "print(*(name for name in sys.modules if name.startswith('trainer.config.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = {
        item.module
        for catalogue in CATALOGUES.values()
        for item in catalogue.items
        if isinstance(item, Later)
    }
    assert "trainer.config.ops" in done.stdout.split()
    assert modules & set(done.stdout.split()) == {"trainer.config.arch_resnet"}
