"""Where the environment says that pretrained weights are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.protocol.codec import FormatError
from trainer.ranks import WeightsPlaces, read_ranks, read_weights_places


@pytest.mark.parametrize(
    ("environ", "places"),
    [
        ({}, WeightsPlaces()),
        ({"FTL_WEIGHTS": "/new", "FTLAUNCH_WEIGHTS": "/old"}, WeightsPlaces(folder=Path("/new"))),
        ({"FTLAUNCH_WEIGHTS": "/old", "FTLAUNCH_OFFLINE": "1"},
         WeightsPlaces(folder=Path("/old"), offline=True)),
        ({"FTLAUNCH_WEIGHTS": "{claim: c, path: /w}"}, WeightsPlaces()),
        ({"FTL_OFFLINE": "yes"}, WeightsPlaces(offline=True)),
        ({"FTL_OFFLINE": "0", "FTLAUNCH_OFFLINE": "1"}, WeightsPlaces()),
        ({"FTL_HOME": "/home/me", "FTL_RUN_ID": "a"}, WeightsPlaces(user_home=Path("/home/me"))),
        ({"FTL_RUN_ID": "a"}, WeightsPlaces(home_is_lost=True)),
    ],
    ids=["nothing", "the new name wins", "old names", "a setting of the launcher", "a word", "off wins",
         "a local job", "a container"],
)  # fmt: skip
def test_folders_and_switches_are_read(environ: dict[str, str], places: WeightsPlaces) -> None:
    assert read_weights_places(environ) == places


def test_a_file_in_the_place_of_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(FormatError, match="FTL_WEIGHTS: expected a folder of weights, got the file"):
        read_weights_places({"FTL_WEIGHTS": str(tmp_path / "w")})


def test_a_switch_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(FormatError, match="FTL_OFFLINE: expected 1 or 0, got 'perhaps'"):
        read_weights_places({"FTL_OFFLINE": "perhaps"})


@pytest.mark.parametrize(
    ("environ", "promised"),
    [
        ({"FTL_RUN_ID": "a", "PADDLE_DISTRI_BACKEND": "nccl"}, True),
        ({"FTL_RUN_ID": "a", "PADDLE_DISTRI_BACKEND": "gloo"}, False),
        ({"PADDLE_DISTRI_BACKEND": "nccl"}, False),
    ],
    ids=["a job on GPUs", "a job on CPUs", "no job"],
)
def test_only_a_job_promises_gpus(environ: dict[str, str], promised: bool) -> None:
    assert read_ranks(environ).gpus_promised is promised
