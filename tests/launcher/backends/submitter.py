"""Submits the contract suite's job and stays: `submitter.py FOLDER`."""

import sys
import time
from pathlib import Path

from launcher.backends.local import LocalBackend
from tests.contract.local_harness import LocalUnderTest

place = LocalUnderTest.__new__(LocalUnderTest)
place.folder = Path(sys.argv[1])
place.stage, place.runs_dir = place.folder / "stage", place.folder / "runs"
place.backend = LocalBackend(place.runs_dir, gpus=tuple)
sys.stdout.write(f"{place.backend.submit(place.submission(nodes=1))}\n")
sys.stdout.flush()
time.sleep(60)
