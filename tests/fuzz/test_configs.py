"""Configs that somebody hands over: loaded or refused with a sentence; and no value becomes structure."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from launcher.config.load import load_run_config
from launcher.errors import LaunchError
from launcher.plan.plan import plan
from launcher.render.render import render
from tests.fuzz.mutation import mutate
from tests.launcher.configs import RUN_ID, config_values
from trainer.config.problems import ConfigError

HOSTILE = [
    "x\n  hostPID: true",
    '"',
    "'",
    "{{ 7*7 }}",
    "{% raw %}",
    "${IFS}",
    "$(PADDLE_MASTER)",
    "no",
    "1e3",
    "~",
    "null",
    "0x1f",
    "- a",
    "a: b",
    "# c",
    "|",
    ">",
    "&a",
    "*a",
    "!!binary x",
    "---",
    "...",
    "\t",
    "\x85x",
    "\u2028",
    "\ufeff",
    "%YAML 1.2",
    "`id`",
    "; rm -rf /",
    "é语🙂",
    " lead",
    "trail ",
    "a" * 300,
    "\\n",
    "\\u0000",
    "]",
    "}",
    ",",
    "@x",
    "%x",
    "=",
    "<<",
]


def test_no_mutant_of_a_config_does_worse_than_being_refused(
    tmp_path: Path, rng: random.Random, rounds: Callable[[int], int]
) -> None:
    path = tmp_path / "cfg.yaml"
    original = yaml.safe_dump(config_values(), allow_unicode=True).encode()
    for _ in range(rounds(80)):
        path.write_bytes(mutate(original, rng, [original]))
        with contextlib.suppress(ConfigError, LaunchError):
            config = load_run_config(path)
            render(plan(config, run_id=RUN_ID, on="kubernetes"))


def shape(value: Any) -> Any:
    """Return a manifest's structure: keys and lengths, without its values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def hostile(rng: random.Random) -> str:
    return "".join(rng.choice(HOSTILE) for _ in range(rng.randrange(1, 4)))


def test_no_text_of_a_config_changes_the_structure_of_the_manifest(
    tmp_path: Path, rng: random.Random, rounds: Callable[[int], int]
) -> None:
    path = tmp_path / "cfg.yaml"
    rendered = 0
    for _ in range(rounds(40)):
        text = hostile(rng)
        places = {
            "env": {"A": text},
            "annotations": {"example.com/a": text},
            "tolerations": [{"key": "k", "operator": "Equal", "value": text, "effect": "NoSchedule"}],
        }
        chosen = {key: value for key, value in places.items() if rng.random() < 0.7}
        plain = copy.deepcopy(chosen)
        for value in plain.values():
            for item in [value] if isinstance(value, dict) else value:
                item.update({key: "x" for key, inner in item.items() if inner == text})
        manifests = []
        for launch in (chosen, plain):
            path.write_text(yaml.safe_dump(config_values(launch=launch)), encoding="utf-8")
            try:
                manifests.append(render(plan(load_run_config(path), run_id=RUN_ID, on="kubernetes")))
            except (ConfigError, LaunchError):  # such as a variable of control characters
                break
        if len(manifests) < 2:
            continue
        rendered += 1
        ours, plains = manifests
        assert shape(yaml.safe_load(ours.text.split("\n---\n")[-1])) == shape(
            yaml.safe_load(plains.text.split("\n---\n")[-1])
        )
        if "annotations" in chosen:
            template = ours.job["spec"]["paddleReplicaSpecs"]["Worker"]["template"]
            assert template["metadata"]["annotations"]["example.com/a"] == text
    assert rendered > 0
