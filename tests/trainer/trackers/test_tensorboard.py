"""TensorBoard's files, read back without the code that writes them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.trainer.trackers.conftest import Output
from trainer.protocol.tracking import Ending
from trainer.trackers import Row, Run
from trainer.trackers.delivery import Delivery
from trainer.trackers.tensorboard import TensorBoard

DONE = Ending(state="finished", reason="trained")


def crc32c(data: bytes) -> int:
    """RFC 3720, appendix B.4, bit by bit."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return found ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    found = crc32c(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(path: Path) -> list[object]:
    """Read a file of records (TensorFlow, record_writer.h), each with both of its checksums right."""
    from tensorboardX.proto.event_pb2 import Event

    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        length, check = struct.unpack_from("<QI", data, at)
        assert check == masked(data[at : at + 8])
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body)
        found.append(Event.FromString(body))
        at += length + 16
    return found


def scalars(path: Path) -> list[tuple[str, int, float]]:
    return [
        (value.tag, event.step, value.simple_value)  # type: ignore[attr-defined]
        for event in read_events(path)
        for value in event.summary.value  # type: ignore[attr-defined]
        if value.HasField("simple_value")
    ]


def texts(path: Path) -> dict[str, str]:
    return {
        value.tag.removesuffix("/text_summary"): value.tensor.string_val[0].decode()  # type: ignore[attr-defined]
        for event in read_events(path)
        for value in event.summary.value  # type: ignore[attr-defined]
        if value.HasField("tensor")
    }


def send(output: Output, **settings: str) -> Path:
    delivery = Delivery(
        request=output.request("tensorboard", ending=DONE, **settings), tracker=TensorBoard(),
        tell=lambda _: None, wait=lambda _: DONE,
    )  # fmt: skip
    assert delivery.run()
    (path,) = Path(delivery.tracker.place).iterdir()
    return path


def test_scalars_and_what_is_known_of_a_run_stand_in_one_file(output: Output) -> None:
    output.describe()
    output.steps(1, 2)
    output.row("eval", step=2, top1=0.75)
    output.row("checkpoint", step=2, path="/output/e001", best=1.0)
    path = send(output)
    assert path.parent == output.folder / "tensorboard" / "flowers-a3f9k"
    assert path.name.startswith("events.out.tfevents.")
    assert scalars(path) == [("train/loss", 1, 1.0), ("train/loss", 2, 0.5), ("eval/top1", 2, 0.75)]
    assert texts(path)["best_checkpoint"] == "/output/e001"
    assert texts(path)["end"] == "finished: trained"
    assert "| Global.epochs | 3 |" in texts(path)["parameters"]
    assert read_events(path)[0].file_version == "brain.Event:2"  # type: ignore[attr-defined]


def test_a_folder_of_ones_own_has_a_folder_a_run(output: Output, tmp_path: Path) -> None:
    output.steps(1)
    path = send(output, uri=str(tmp_path / "board"))
    assert path.parent == tmp_path / "board" / "flowers-a3f9k"


@pytest.mark.parametrize("cut", [1, 13, 30])
def test_half_a_record_is_cut_off_and_its_row_comes_once(output: Output, cut: int) -> None:
    rows = [Row(step=step, epoch=1, time_s=1e9, values={"train/loss": 0.5}) for step in (1, 2, 3)]
    tracker = TensorBoard()
    run = Run(job="j", run_id="a" * 32, known=None, parameters={}, output_dir=output.folder)
    known = tracker.start(run)
    tracker.log(rows[:2])
    path = Path(tracker.place) / known
    path.write_bytes(path.read_bytes()[:-cut])
    again = TensorBoard()
    assert again.start(run) == known
    left = again.missing(rows)
    again.log(left)
    assert [row.step for row in left] == [2, 3]
    assert [step for _, step, _ in scalars(path)] == [1, 2, 3]
