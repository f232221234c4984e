"""docs/models.md against the models: every name, its parameters, image size and weights."""

from __future__ import annotations

import math
from pathlib import Path

import paddle
import pytest

from trainer.config.archs import SINGLE_ARCHS
from trainer.config.zoo import PaddleClasArch
from trainer.models.published import published_url
from trainer.models.registry import create_model

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
NAMES = [name for arch in SINGLE_ARCHS if arch is not PaddleClasArch for name in arch.known_names()]
# With 1000 classes, as PaddleClas d178931 counts what learns.
COUNTED = {
    "ResNet50_vd": 25_576_264, "PPLCNet_x1_0": 2_952_520, "PPHGNet_tiny": 14_735_864,
    "PPHGNetV2_B0": 5_996_550,
}  # fmt: skip


def rows() -> dict[str, str]:
    _, _, section = PAGE.read_text().partition("\n## Architectures\n")
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


def row(name: str) -> str:
    with paddle.LazyGuard():  # draws nothing
        model = create_model(name)
    heads = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.Linear)]
    assert heads[-1].weight.shape[1] == 1000
    count = sum(math.prod(p.shape) for p in model.parameters() if not p.stop_gradient)
    if name in COUNTED:
        assert count == COUNTED[name]
    published = "yes" if published_url(name, use_ssld=False) else "no"
    return f"| `{name}` | {count / 1e6:.2f} | {published} |"


def test_the_page_has_exactly_the_architectures_that_are_built_here():
    missing, unknown = set(NAMES) - set(rows()), set(rows()) - set(NAMES)
    assert not missing, f"docs/models.md lacks: {sorted(map(row, missing))}"
    assert not unknown, f"docs/models.md has rows of what is not built here: {sorted(unknown)}"
    assert list(rows()) == NAMES, "expected the rows of docs/models.md in the order of SINGLE_ARCHS"


@pytest.mark.parametrize("name", NAMES)
def test_every_row_says_what_is_built(name: str):
    found, built = rows().get(name), row(name)
    assert found == built, "the row of docs/models.md; its last word is from trainer/models/published.py"
