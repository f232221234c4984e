"""Amounts as Kubernetes writes them: `1500m`, `64Gi`, `8`, `1e3`. Pure.

Suffixes and exponents are those of k8s.io/apimachinery v0.34, pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
QUANTITY = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3}|[KMGTPE]i|[numkMGTPE])?"
"""A pattern for the whole text. An exponent of more digits is no amount of anything."""
_GPU = re.compile(r"(v?gpu|gpu\.shared|mig-.+|xpu|npu|mlu|dcu|i915|xe|Ascend\d.*)")
"""Last part of the name of an extended resource that counts devices to train on; memory and shares of one
(`gpu-memory`, `gpu-core`) are no devices."""
_BYTES = ("memory", "ephemeral-storage", "storage")
_PARTS = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]{1,3})?)([KMGTPE]i|[numkMGTPE])?")


def read_quantity(text: str) -> Decimal:
    """Read an amount that a person wrote.

    Raises:
        ValueError: It is none.
    """
    match = _PARTS.fullmatch(text) if re.fullmatch(QUANTITY, text) else None
    if match is None:
        raise ValueError(f"expected a quantity, got {text!r:.80}")
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def parse_quantity(text: object) -> Decimal:
    """Read an amount; 0 where it is none, because what was stored by a server needs no checking."""
    try:
        return read_quantity(str(text).strip())
    except ValueError:
        return Decimal(0)


def is_gpu(resource: str) -> bool:
    """Say whether an extended resource counts GPUs, or devices like them."""
    domain, slash, name = resource.rpartition("/")
    return bool(slash) and not domain.endswith("kubernetes.io") and _GPU.fullmatch(name) is not None


def format_quantity(amount: Decimal, resource: str) -> str:
    """Write an amount for people: bytes in GiB or MiB, everything else as a plain number."""
    if resource in _BYTES or resource.startswith("hugepages-"):
        if abs(amount) >= 2**30:
            return f"{_plain(round(amount / 2**30, 1))} GiB"
        return f"{_plain(round(amount / 2**20, 1))} MiB"
    return _plain(round(amount, 3))


def _plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
