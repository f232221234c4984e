from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainer.config.ops import OPS
from trainer.config.registry import Spec

PAGE = Path(__file__, "../../../../docs/transforms.md").resolve().read_text(encoding="utf-8")
ROWS = {
    name.strip(): {re.split(r"[:\s]", code)[0] for code in re.findall(r"`([^`]+)`", parameters)}
    for name, parameters in re.findall(r"^\| ([A-Z]\w+) +\|([^|]*)\|", PAGE, re.MULTILINE)
}


def test_the_page_lists_every_operation_and_no_other() -> None:
    assert set(ROWS) == {op.__name__ for op in OPS}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_the_page_lists_an_operation_s_parameters(op: type[Spec]) -> None:
    assert ROWS[op.__name__] == set(op.model_fields)
