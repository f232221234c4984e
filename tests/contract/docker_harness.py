"""The docker backend over a fake engine's command line, whose containers run `actor.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.backends.docker import DockerBackend
from launcher.backends.docker.engine import Engine
from tests.contract.local_harness import LocalUnderTest

FAKE = Path(__file__).parents[1] / "fakes" / "docker_engine.py"


class DockerUnderTest(LocalUnderTest):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.engine_folder = folder / "engine"
        self.engine_folder.mkdir()
        program = folder / "docker"
        command = f"exec '{sys.executable}' -S '{FAKE}' \"$@\""
        program.write_text(f"#!/bin/sh\nexport FAKE_ENGINE='{self.engine_folder}'\n{command}\n")
        program.chmod(0o755)
        self.backend = DockerBackend(self.runs_dir, engine=Engine(program=str(program)), gpus=tuple)
