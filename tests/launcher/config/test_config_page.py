from __future__ import annotations

import re
from pathlib import Path

import yaml

from launcher.config.launch import (
    Csi,
    EmptyDir,
    LaunchSection,
    Nfs,
    NodeRange,
    Resources,
    RunAs,
    Secret,
    Volume,
    Weights,
)

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "config.md").read_text()


def test_the_page_names_every_key_of_launch_and_no_other():
    table = PAGE.partition("| key |")[2].partition("\n\n")[0]
    named = {key for line in table.splitlines() for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == set(LaunchSection.model_fields)


def test_the_page_names_every_key_of_the_parts():
    for part in (Volume, Nfs, Csi, EmptyDir, Secret, Resources, RunAs, Weights, NodeRange):
        for key in part.model_fields:
            assert re.search(rf"\b{key}\b", PAGE), f"{part.__name__}.{key}"


def test_the_example_of_the_page_is_accepted():
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    assert LaunchSection.model_validate(example["Launch"]).gpus == 4
