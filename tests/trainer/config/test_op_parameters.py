"""Parameters of image operations: what is refused, and with which place."""

from __future__ import annotations

from typing import Any

import pytest

TAIL = "        - RandFlipImage: {flip_code: 1}\n"


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("Padv2: {sise: 8}", "Padv2.sise: expected a parameter that exists here, got 'sise'; "),
        ("Padv2: {size: 8, pad_mode: 3}", "Padv2.pad_mode: expected 0, 1, 2 or -1, got 3"),
        ("Padv2: {size: 8, pad_mode: -1}", "expected offsets with pad_mode: -1 and with no other"),
        ("Padv2: {size: 8, offsets: [1, 2]}", "got pad_mode 0 and offsets [1, 2]"),
        ("Padv2: {size: 8, fill_value: [1, 2]}", "expected at least 3 items, got [1, 2]"),
        ("Pad: {fill: 1}", "Pad.padding: expected a value, got nothing; add it"),
        ("Pad: {padding: 1, fill: [1, 2, 3], backend: cv2}", "expected one level as fill with backend cv2"),
        ("Pad: {padding: 1, fill: 1.5}", "expected whole levels as fill with backend pil"),
        ("Pad: {padding: 1, padding_mode: edge}", "expected 'constant', got 'edge'"),
        ("RandomRot90: {prob: 1}", "expected a parameter that exists here, got 'prob'"),
        ("CropImageAtRatio: {size: 8}", "CropImageAtRatio.pad: expected a value, got nothing"),
        ("CropWithPadding: {scale: [0, 1]}", "expected scale: [low, high] with 0 < low <= high <= 1"),
        ("RandomInterpolationAugment: {prob: 2}", "expected a number of at most 1, got 2"),
        ("Cutout: {n_holes: 0}", "expected a number above 0, got 0"),
        ("Cutout: {fill_value: [1, 2]}", "expected at least 3 items, got [1, 2]"),
        ("GridMask: {d1: 9, d2: 9}", "expected d1 below d2, got 9 and 9"),
        ("GridMask: {mode: 2}", "expected 0 or 1, got 2"),
        ("HideAndSeek: {size: 3}", "expected a parameter that exists here, got 'size'"),
        ("RandAugmentV4: {num_layers: 2}", "expected a parameter that exists here, got 'num_layers'"),
        ("AugMix: {aug_severity: 101}", "expected a number of at most 100, got 101"),
        ("BlurImage: {motion_max_ksize: 5}", "expected a number of at least 6, got 5"),
        ("PCALighting: {alphastd: 0.1}", "expected a parameter that exists here, got 'alphastd'"),
        ("Resize: {size: [1, 2, 3]}", "expected at most 2 items, got [1, 2, 3]"),
        ("RandomResizedCrop: {size: 8, ratio: [2, 1]}", "expected ratio: [low, high]"),
        ("RandomRotation: {degrees: -5}", "expected degrees of at least 0 or [low, high]"),
        ("RandomRotation: {prob: 0.5}", "RandomRotation.degrees: expected a value, got nothing"),
        ("RandomGrayscale: {p: -1}", "expected a number of at least 0, got -1"),
        ("RandomApply: {p: 0.5, transforms: []}", "expected at least 1 items, got []"),
        ("RandomApply: {p: 0.5, transforms: [{RandFlipImage: }]}", "got 'RandFlipImage'"),
        ("RandomApply: {p: 0.5, transforms: [{ColorJitter: {hue: 2}}]}",
         "transforms.0.ColorJitter.hue: expected a number of at most 0.5, got 2"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_with_its_place(op: str, message: str, config: Any) -> None:
    line = config.change("RandCropImage: {size: 224}", op).refusal()
    assert line.startswith("cfg.yaml:27:"), line
    assert message in line


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        (["Padv2: {size: 300}", "TimmAutoAugment:"],
         "expected TimmAutoAugment (item 3) before Padv2, which makes floating-point numbers"),
        (["PCALighting:", "Pad: {padding: 2}"],
         "expected Pad (item 3) with backend pil before PCALighting, which makes floating-point numbers"),
        (["ToTensor:"], "expected RandFlipImage (item 3) before the channels are moved to the front"),
        (["Normalize: {data_format: CHW}"],
         "expected Normalize (item 2) with data_format: HWC, because the image is [H, W, C] there"),
        (["Normalize: {data_format: HWC}"], "expected one of Normalize and NormalizeImage, got both"),
    ],
)  # fmt: skip
def test_operations_that_cannot_follow_each_other_are_refused(
    ops: list[str], message: str, config: Any
) -> None:
    config.change(TAIL, "".join(f"        - {op}\n" for op in ops) + TAIL)
    assert message in config.refusal()


def test_a_tensor_needs_no_other_normalising(config: Any) -> None:
    start, end = config.text.index("        - NormalizeImage"), config.text.index("    sampler:")
    config.text = f"{config.text[:start]}        - ToTensor:\n        - Normalize:\n{config.text[end:]}"
    assert len(config.load().config.data.Train.dataset.transform_ops) == 5


@pytest.mark.parametrize(
    ("container", "name"), [("to_np: False, backend: pil", "box"), ("to_rgb: True", "area")]
)
def test_paddle_s_own_operations_know_what_their_image_is(container: str, name: str, config: Any) -> None:
    config.change("DecodeImage: {to_rgb: True, channel_first: False}", f"DecodeImage: {{{container}}}")
    config.change("RandCropImage: {size: 224}", f"Resize: {{size: 8, interpolation: {name}}}")
    config.load()
    other = {"box": "area", "area": "box"}[name]
    message = "expected Resize (item 1) with an interpolation that Paddle has for"
    line = config.change(f"interpolation: {name}", f"interpolation: {other}").refusal()
    assert message in line
    assert line.endswith(f"got '{other}'")


CUSTOM = "name: CustomLabelDataset\n      label_key: random_rot90_orientation"


def custom(config: Any) -> Any:
    config.change("name: ImageNetDataset", CUSTOM).change("cls_label_path", "sample_list_path")
    return config.change("RandCropImage: {size: 224}", "RandomRot90:")


def test_a_dataset_may_take_the_label_that_an_operation_draws(config: Any) -> None:
    assert custom(config).load().config.data.Train.dataset.labels == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label_key: random_rot90_orientation", "label_key: blur_image",
         "expected a label that an operation of transform_ops draws (random_rot90_orientation), got"),
        ("RandomRot90:", "RandCropImage: {size: 4}", "(none; RandomRot90 and BlurImage draw one)"),
        ("      label_key: random_rot90_orientation\n", "", "expected a value, got nothing; add it"),
        ("class_num: 102", "class_num: 3",
         "expected at most Arch.class_num labels, which is 3, got 4 of random_rot90_orientation"),
    ],
)  # fmt: skip
def test_a_label_that_nothing_draws_is_refused(old: str, new: str, message: str, config: Any) -> None:
    config.change("topk: [1, 5]", "topk: 1").change("topk: [1, 5]", "topk: 1")
    lines = custom(config).change(old, new).refusals()
    assert any(message in line for line in lines), lines
