"""The table of kinds in docs/kubernetes.md is what the cluster suite has shown, and nothing else."""

from __future__ import annotations

import json

from launcher.kinds.registry import KINDS
from tests.e2e.cluster.kind_table import BEGIN, END, KEPT, PAGE, render


def test_the_page_has_the_table_that_the_suite_has_filled():
    table = json.loads(KEPT.read_text())
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == render(table).strip(), "make kind-table"
    assert set(table) == {kind.name for kind in KINDS}
    assert not [kind for kind, row in table.items() if "failed" in row.values()]
