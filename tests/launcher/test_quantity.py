from __future__ import annotations

from decimal import Decimal

import pytest

from launcher.quantity import parse_quantity, read_quantity


@pytest.mark.parametrize(("text", "value"), [
    ("16", 16), ("500m", "0.5"), ("250u", "0.00025"), ("1n", "1e-9"), ("1k", 1000), ("16G", 16 * 10**9),
    ("1E", 10**18), ("8Gi", 2**33), ("1.5Ki", 1536), ("2Ei", 2**61), ("1e3", 1000), ("1E3", 1000),
    ("12e-1", "1.2"), ("+.5", "0.5"), ("-4Mi", -(2**22)), ("3.", 3),
])  # fmt: skip
def test_quantities_are_those_of_kubernetes(text: str, value: int | str) -> None:
    assert read_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    ["much", "", ".", "1.2.3", "8gi", "8GB", "16 Gi", "1Ki2", "1e3Mi", "e3", "1e1000", "٣", "--1", "nan"],
)
def test_what_is_no_quantity_is_refused_or_0_where_a_server_stored_it(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        read_quantity(text)
    assert parse_quantity(text) == 0
