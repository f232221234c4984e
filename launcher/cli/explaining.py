"""`ftlaunch render --explain`: every value with its source, as a table or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from launcher.cli.prepare import Prepared
from launcher.cli.printing import echo

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.plan.explain import Row

_TITLES = {"on": "place", "launch": "Launch", "env": "environment", "argv": "command", "mount": "mounts"}
_MAX_VALUE = 60


def explanation(prepared: Prepared) -> list[Row]:
    """Return the rows of a job."""
    from launcher.backends.replicas import expand
    from launcher.plan.explain import Row, explain

    job, (on, said_by) = prepared.job, prepared.on
    operator: dict[str, str] = {}
    if job.pod_patch is None and not prepared.templates:
        pods = expand(prepared.manifest, pod_ip="(its address)")
        own = {"FTL_NODE", "HOME", "TMPDIR", *job.env}
        operator = {name: value for name, value in pods[0].env.items() if name not in own}
    rows = explain(prepared.config, job, operator=operator)
    return [Row(kind="on", name="on", value=on, source=said_by), *rows]


def write_table(rows: list[Row], *, output: str) -> None:
    """Print rows."""
    if output == "json":
        listed = [{"kind": r.kind, "name": r.name, "value": r.value, "from": r.source} for r in rows]
        echo(json.dumps({"schema": 1, "rows": listed}, indent=2))
        return
    width = max(len(row.name) for row in rows)
    kind = ""
    for row in rows:
        if row.kind != kind:
            kind = row.kind
            echo(f"{_TITLES[kind]}:")
        text = row.value if isinstance(row.value, str) else json.dumps(row.value, ensure_ascii=False)
        shown = text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
        echo(f"  {row.name:<{width}}  {shown:<{_MAX_VALUE}}  {row.source}")
