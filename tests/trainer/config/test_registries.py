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
    data,
    infer,
    losses,
    metrics,
    ops,
    ops_augment,
    optimizers,
    samplers,
    schedules,
)
from trainer.config.registry import Lazy, Registry, Spec

REGISTRIES = {
    "archs": archs.ARCHS, "batch_ops": data.BATCH_OPS, "datasets": data.DATASETS,
    "losses": losses.LOSSES, "metrics": metrics.METRICS, "ops": ops.OPS, "optimizers": optimizers.OPTIMIZERS,
    "post_processes": infer.POST_PROCESSES, "samplers": samplers.SAMPLERS, "schedules": schedules.SCHEDULES,
}  # fmt: skip
UNNAMED = {
    "ImageOp", "SizedOp", "BaseArch", "ChannelsFirstArch", "TransformerArch", "DistillationLoss", "OfPairs",
    "BaseLoss", "ClassWeightedLoss", "BaseOptimizer", "BaseMetric", "BaseBatchOp", "BasePostProcess",
    "BaseSchedule",
    "WarmupSchedule", "LenientSchedule", "RateSchedule",  # bases
    "EfficientNetOverrides", "Regularizer", "SampledFmix", "SampledMixup", "SampledCutmix",  # parts of others
}  # fmt: skip
"""Specs that no place of a config names."""


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=REGISTRIES)
def test_each_name_leads_to_the_spec_that_has_it(registry: Registry) -> None:
    for item in registry.items:
        for name in item.known_names():
            found = registry.find(name)
            assert found is not None
            assert found.known_names() == item.known_names(), (
                f"{name!r} leads to {found.__name__}; is it in another line, too?"
            )
    assert registry.names() == [name for spec in registry for name in spec.known_names()]


def test_a_table_names_the_module_of_each_spec() -> None:
    items = [item for registry in REGISTRIES.values() for item in registry.items if isinstance(item, Lazy)]
    assert items
    assert [item.load().__module__ for item in items] == [item.module for item in items]


def test_every_spec_is_in_one_catalogue() -> None:
    listed = [spec for registry in REGISTRIES.values() for spec in registry]
    declared = {
        member
        for module in pkgutil.iter_modules(trainer.config.__path__)
        for member in vars(import_module(f"trainer.config.{module.name}")).values()
        if inspect.isclass(member) and issubclass(member, Spec) and member is not Spec
        if not member.__name__.startswith("_") and not member.__name__.startswith("Extra")
    }
    assert len(listed) == len(set(listed))
    assert {item for item in declared if item.__name__ not in UNNAMED} == {*listed, *ops_augment.APPLIED_OPS}


def test_names_that_a_config_does_not_have_are_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.config.load import load_config\n"
        "load_config(Path('examples/ResNet50_vd.yaml'))\n"
        "print(*(name for name in sys.modules if name.startswith('trainer.config.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = {
        item.module for registry in REGISTRIES.values() for item in registry.items if isinstance(item, Lazy)
    }
    assert "trainer.config.ops" in done.stdout.split()
    assert modules & set(done.stdout.split()) == {"trainer.config.archs_resnet"}
