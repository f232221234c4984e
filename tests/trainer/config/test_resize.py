from __future__ import annotations

import codecs

import pytest
import yaml

from trainer.config.problems import ConfigError
from trainer.config.resize import resize

TEXT = """\
Global:
  image_shape: [3, 224, 224]  # C, H, W
DataLoader:
  Train:
    dataset:
      transform_ops:
        - DecodeImage: {to_rgb: True}
        - RandCropImage:
            size: 224          # seen by the network
            scale: [0.08, 1.0]
        - TimmAutoAugment: {config_str: rand-m9-mstd0.5-inc1, img_size: 224}
        - NormalizeImage: {order: ''}
  Eval:
    dataset:
      transform_ops:
        - ResizeImage:
            resize_short: 256
        - CropImage:
            size: 224
Infer:
  transforms:
    - ResizeImage: {resize_short: 256}
    - CropImage:
        size:
          - 224
          # height
          - 224
"""


def changed(text: str, size: int) -> tuple[str, list[str]]:
    content, changes = resize(text.encode(), size, name="cfg.yaml")
    return content.decode(), [str(change) for change in changes]


def test_all_fields_change_together_and_nothing_else():
    text, said = changed(TEXT, 320)
    assert text == TEXT.replace("224", "320").replace("256", "366")
    assert said[0] == "line 2: Global.image_shape.1: 224 -> 320"
    assert len(said) == 9  # the lists have two sides each
    values = yaml.safe_load(text)
    assert values["Infer"]["transforms"][1]["CropImage"]["size"] == [320, 320]


def test_the_way_back_gives_the_same_bytes():
    text, _ = changed(TEXT, 320)
    assert changed(text, 224) == (TEXT, [reversed_(line) for line in changed(TEXT, 320)[1]])


def reversed_(line: str) -> str:
    where, _, values = line.rpartition(": ")
    before, _, after = values.partition(" -> ")
    return f"{where}: {after} -> {before}"


def test_the_same_size_changes_nothing():
    assert changed(TEXT, 224) == (TEXT, [])


def test_line_ends_and_the_byte_order_mark_are_kept():
    content = codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode()
    found, _ = resize(content, 320, name="cfg.yaml")
    assert found == content.replace(b"224", b"320").replace(b"256", b"366")


def test_an_alias_is_changed_where_its_anchor_stands():
    text = (
        "DataLoader:\n  Train:\n    dataset:\n      transform_ops: &ops\n"
        "        - ResizeImage: {size: [224, 224]}\n"
        "Infer: {transforms: *ops}\n"
    )
    assert changed(text, 96)[0] == text.replace("224", "96")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Global: {epochs: 1}\n", "expected sizes of images"),
        ("Global: {image_shape: [3, 256, 192]}\n", r"cfg.yaml:1: .*expected a square, got \['256', '192'\]"),
        ("Global:\n\tx: 1\n", "expected spaces, got a tab"),
    ],
    ids=["no size", "no square", "no YAML"],
)
def test_what_cannot_be_resized_is_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        resize(text.encode(), 96, name="cfg.yaml")
