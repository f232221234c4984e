from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from trainer.config import archs, data, losses, metrics, ops, optimizers, samplers, schedules
from trainer.config.document import parse_document
from trainer.config.paths import PATH_KEYS, find_paths
from trainer.config.registry import Registry
from trainer.config.root import TrainConfig
from trainer.config.schema import expected_names, is_known, json_schema, known_keys

DECODE = "- DecodeImage: {to_rgb: True, channel_first: False}\n        "
FLIP = "- RandFlipImage: {flip_code: 1}\n"
NORMALIZE = "- NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.2], order: ''}\n"
PLACE = "DataLoader.Train.dataset.transform_ops"


@pytest.mark.parametrize(
    "registry",
    [
        archs.ARCHS,
        data.BATCH_OPS,
        losses.LOSSES,
        metrics.METRICS,
        ops.OPS,
        optimizers.OPTIMIZERS,
        samplers.SAMPLERS,
        schedules.SCHEDULES,
    ],
    ids=["archs", "batch_ops", "losses", "metrics", "ops", "optimizers", "samplers", "schedules"],
)
def test_no_name_stands_twice(registry: Registry) -> None:
    names = registry.names()
    assert len(names) == len(set(names))


def test_the_json_schema_is_valid_and_accepts_a_typical_config(config: Any) -> None:
    schema = json_schema(TrainConfig)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(parse_document(config.text.encode(), name="x").values, schema)


def test_the_json_schema_takes_a_list_of_optimizers(config: Any) -> None:
    values = parse_document(config.text.encode(), name="x").values
    rate = {"name": "Constant", "learning_rate": 0.1}
    values["Optimizer"] = [{"SGD": {"scope": "fc", "lr": rate}}, {"Momentum": {"scope": "stem", "lr": rate}}]
    jsonschema.validate(values, json_schema(TrainConfig))
    values["Optimizer"][0]["SGD"]["scoop"] = "fc"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json_schema(TrainConfig))
    assert is_known(TrainConfig, ("Optimizer", 0, "SGD", "scope"))


def test_the_json_schema_takes_what_has_a_default_name_without_it(config: Any) -> None:
    values = parse_document(config.text.encode(), name="x").values
    del values["DataLoader"]["Train"]["sampler"]["name"]
    values["Optimizer"]["lr"] = {"learning_rate": 0.1}
    jsonschema.validate(values, json_schema(TrainConfig))
    values["Optimizer"]["lr"]["learning_rate"] = "fast"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json_schema(TrainConfig))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 2", "epochs: two"), ("ResNet50_vd", "ResNet51"), ("RandCropImage: {size: 224}", "Crop: {}"),
        ("RandCropImage: {size: 224}", "RandCropImage: {sise: 224}"), ("name: Cosine, ", "name: Kosine, "),
    ],
)  # fmt: skip
def test_the_json_schema_refuses_what_the_types_refuse(old: str, new: str, config: Any) -> None:
    config.change(old, new)
    assert config.refusals()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(config.text), json_schema(TrainConfig))


def test_the_schema_describes_its_keys() -> None:
    assert "epochs" in known_keys(TrainConfig, ("Global",))
    assert "RandCropImage" in expected_names(
        TrainConfig, ("DataLoader", "Train", "dataset", "transform_ops", 1)
    )
    assert is_known(TrainConfig, ("Optimizer", "lr", "gamma"))
    assert not is_known(TrainConfig, ("Global", "epoch"))


def test_path_keys_are_found_wherever_they_stand_but_not_in_launch_and_no_urls() -> None:
    values = {
        "Global": {"output_dir": "o", "pretrained_model": "https://x/y"},
        "A": [{"B": {"class_id_map_file": "c"}}],
        "Launch": {"image_root": "l"},
        "Arch": {"pretrained": True},
    }
    assert list(find_paths(values)) == [
        (("Global", "output_dir"), "o"),
        (("A", 0, "B", "class_id_map_file"), "c"),
    ]
    assert "image_root" in PATH_KEYS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (DECODE, "", "expected DecodeImage as the first operation"),
        (FLIP, FLIP + "        - DecodeImage:\n",
         "expected DecodeImage as the first operation only, got it as item 3"),
        ("        " + NORMALIZE, "", "expected NormalizeImage, which makes the numbers that a network takes"),
        (", order: ''}", "}",
         "expected NormalizeImage (item 3) with order: '', because the image is [H, W, C] there"),
        ("{to_rgb: True, channel_first: False}", "{channel_first: True}",
         "expected RandCropImage (item 1) before the channels are moved to the front"),
        (FLIP, "- ToCHWImage:\n",
         "expected NormalizeImage (item 3) with order: 'chw', because the image is [C, H, W] there"),
        (NORMALIZE, NORMALIZE + "        " + NORMALIZE,
         "expected NormalizeImage once, got it again as item 4"),
        (NORMALIZE, NORMALIZE + "        - ResizeImage: {size: 8, backend: pil}\n",
         "expected ResizeImage (item 4) with backend pil before NormalizeImage"),
    ],
    ids=["no-decode", "decode-again", "no-normalize", "order", "chw", "to-chw", "twice", "pil-floats"],
)  # fmt: skip
def test_operations_that_cannot_follow_each_other_are_refused(
    old: str, new: str, message: str, config: Any
) -> None:
    line = config.change(old, new).refusal()
    assert line.startswith(f"cfg.yaml:26:9: {PLACE}: " if old != DECODE else "cfg.yaml:26:9:")
    assert message in line


def test_a_dataset_without_operations_is_refused(config: Any) -> None:
    config.text = config.text.replace(
        config.text[config.text.index("      transform_ops:") : config.text.index("    sampler:")], ""
    )
    assert config.refusal().endswith(f"{PLACE}: expected a value, got nothing; add it")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("RandCropImage: {size: 8, interpolation: hamming}",
         "expected an interpolation that backend cv2 has, got 'hamming'; set backend: pil"),
        ("RandCropImage: {size: 8, interpolation: area, backend: pil}",
         "expected an interpolation that backend pil has, got 'area'; set backend: cv2"),
        ("RandCropImage: {size: 8, scale: [1.0, 0.5]}",
         "expected scale: [low, high] with 0 < low <= high <= 1"),
        ("RandCropImage: {size: 8, ratio: [0, 1]}", "expected ratio: [low, high] with 0 < low <= high"),
        ("RandCropImage: {size: 8, progress_size: [4, 8]}", "expected at least 4 items, got [4, 8]"),
        ("RandCropImage: {size: [8]}", "expected a value, got nothing; add it"),
        ("ResizeImage: {}", "expected exactly one of size and resize_short"),
        ("ResizeImage: {size: 8, resize_short: 8}", "expected exactly one of size and resize_short"),
        ("RandomErasing: {sl: 0.5, sh: 0.1}", "expected 0 < sl <= sh <= 1, got sl 0.5 and sh 0.1"),
        ("RandomErasing: {r1: '2'}", "expected 0 < r1 <= 1, got 2.0"),
        ("RandomErasing: {EPSILON: 1.5}", "expected a number of at most 1, got 1.5"),
        ("RandomErasing: {mean: [0, 0]}", "expected 3 numbers in mean, one a channel, got 2"),
    ],
)  # fmt: skip
def test_nonsense_in_an_operation_is_refused(new: str, message: str, config: Any) -> None:
    line = config.change("RandCropImage: {size: 224}", new).refusal()
    assert line.startswith("cfg.yaml:27:")
    assert message in line


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("{mean: [1, 2], order: ''}", "expected 3 numbers in mean, one a channel, got 2"),
        ("{std: [1, 0, 1], order: ''}", "expected no 0 in std"),
        ("{scale: 1/0, order: ''}", "expected a number, got '1/0'"),
        ("{scale: os.getcwd(), order: ''}", "expected a number, got 'os.getcwd()'"),
    ],
)
def test_nonsense_in_normalize_is_refused(new: str, message: str, config: Any) -> None:
    old = config.text[config.text.index("{scale: 1.0/255.0") : config.text.index("\n    sampler:")]
    assert message in config.change(old, new).refusal()


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            "{name: Piecewise, decay_epochs: [3, 6], values: [1, 2]}",
            "expected 3 values for 2 decay_epochs, got 2",
        ),
        ("{name: Piecewise, decay_epochs: [6, 3], values: [1, 2, 3]}", "expected decay_epochs that increase"),
        (
            "{name: Cyclic, base_learning_rate: 0.1, max_learning_rate: 1, step_size_up: 3}",
            "expected a value, got nothing; add it",
        ),
        (
            "{name: OneCycleLR, max_learning_rate: 1, three_phase: True, phase_pct: 0.5}",
            "expected phase_pct below 0.5 with three_phase, got 0.5",
        ),
        (
            "{name: CosineFixmatch, learning_rate: 1, num_warmup_steps: 3, warmup_epoch: 1}",
            "expected a parameter that exists here, got 'warmup_epoch'",
        ),
        ("{learning_rate: -1}", "expected a number of at least 0, got -1"),
    ],
)
def test_nonsense_in_a_schedule_is_refused(new: str, message: str, config: Any) -> None:
    lines = config.change("{name: Cosine, learning_rate: 0.0125, warmup_epoch: 1}", new).refusals()
    assert message in "\n".join(lines)


def test_what_a_schedule_of_paddleclas_swallows_is_said(config: Any) -> None:
    config.change("warmup_epoch: 1}", "warmup_epochs: 1}")
    (warning,) = config.warnings()
    assert "Optimizer.lr.warmup_epochs" in warning
    assert "did you mean 'warmup_epoch'" in warning


def test_a_spec_is_frozen(config: Any) -> None:
    loaded = config.load()
    with pytest.raises(ValueError, match="frozen"):
        loaded.config.run.epochs = 3
