"""What a network may return, and which part of it is the answer.

A tensor of logits; a list, as GoogLeNet's, whose first item is the answer and whose others help to train; or
a mapping: of features beside `logits`, or of several networks (`Teacher`, `Student`) by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Outputs: TypeAlias = Any
"""A tensor, a list of tensors, or a mapping of names to either."""
STUDENT = "Student"
"""Of several networks, the one that is evaluated."""


def logits_of(outputs: Outputs, model: str = "Student") -> Any:  # a tensor, which this room does not import
    """Return the logits that are evaluated.

    PaddleClas d178931, ppcls/engine/evaluation/classification.py: the network called Student, and of its
    features `logits`.
    """
    for key in (model, "logits"):
        if isinstance(outputs, Mapping) and key in outputs:
            outputs = outputs[key]
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def output_of(outputs: Outputs, model: str, key: str | None) -> Any:  # as above
    """Return one network's logits, or its feature `key`."""
    found = outputs[model]
    if isinstance(found, Mapping):
        return found[key or "logits"]
    return logits_of(found)
