"""Writes the made part of the corpus: `python -m tests.launcher.why.write_corpus`.

Codes are decided in `made`; the sentences are what the rules say now, for whoever reads the change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.kinds.registry import find_kind
from launcher.why.explain import explain
from launcher.why.snapshot import parse_snapshot
from tests.launcher.why.made import situations

_UNREAD = (
    "args",
    "command",
    "env",
    "securityContext",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "workingDir",
)
CORPUS = Path(__file__).parent / "corpus"


def write(document: dict[str, Any]) -> str:
    """Write a case with one object a line, so that changes can be read."""
    parts = {key: _line(value) for key, value in document["snapshot"].items()}
    inner = ",\n".join(f"  {json.dumps(key)}: {text}" for key, text in parts.items())
    head = ",\n".join(
        f" {json.dumps(key)}: {_line(value)}" for key, value in document.items() if key != "snapshot"
    )
    return f'{{\n{head},\n "snapshot": {{\n{inner}\n }}\n}}\n'


def prune(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Drop of a recorded snapshot what no rule reads and what is about other jobs of its namespace."""
    names = [
        snapshot["job"]["metadata"]["name"],
        *(item["metadata"]["name"] for item in snapshot.get("claims", ())),
    ]
    for spec in _pod_specs(snapshot):
        for container in spec["containers"]:
            for key in _UNREAD:
                container.pop(key, None)
    events = [
        event for event in snapshot["events"]
        if any(event["involvedObject"]["name"].startswith(name) for name in names)
    ]  # fmt: skip
    return {**snapshot, "events": events}


def _pod_specs(snapshot: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = find_kind(snapshot["job"])
    assert kind is not None
    yield from (pod["spec"] for pod in snapshot["pods"])
    yield from (item["spec"]["template"]["spec"] for item in snapshot.get("inner_jobs") or ())
    with suppress(LookupError):  # what holds the template may be gone
        yield kind.pod_template_of(snapshot["job"], snapshot.get("beside") or ())["spec"]


def _line(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"   {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n  ]"
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    wrong = 0
    for name, what, code, snapshot in situations():
        first, *others = explain(parse_snapshot(snapshot))
        if first.code != code:
            wrong += 1
            sys.stderr.write(f"{name}: expected {code}, got {first.code}: {first.sentence}\n")
        document = {
            "what": what, "recorded": False, "kubernetes": snapshot["version"],
            "expected": {"code": code, "sentence": first.sentence, "fix": first.fix,
                         "resolves": first.resolves.value, "also": [other.code for other in others]},
            "snapshot": snapshot,
        }  # fmt: skip
        (CORPUS / f"{name}.json").write_text(write(document))
    for path in CORPUS.glob("recorded-*.json"):  # what was recorded stays, and so does its code
        document = json.loads(path.read_text())
        first, *others = explain(parse_snapshot(document["snapshot"]))
        document["expected"] |= {
            "sentence": first.sentence, "fix": first.fix, "resolves": first.resolves.value,
            "also": [other.code for other in others],
        }  # fmt: skip
        path.write_text(write(document))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
