from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.protocol.codec import FormatError
from trainer.protocol.heartbeat import NO_STOP, Heartbeats, Phase, RankRecord

big = st.integers(0, 2**62)
finite = st.floats(allow_nan=False)
records = st.builds(
    RankRecord, step=big, epoch=big, total_steps=big, phase=st.sampled_from(Phase), pid=big, t_mono_s=finite,
    loss=finite, images_per_s=finite,
)  # fmt: skip


def record(step: int) -> RankRecord:
    return RankRecord(
        step=step, epoch=step, total_steps=step, phase=Phase(step % 6), pid=step, t_mono_s=float(step),
        loss=float(step), images_per_s=float(step),
    )  # fmt: skip


@pytest.fixture(scope="module")
def heartbeats(tmp_path_factory: pytest.TempPathFactory) -> Heartbeats:
    return Heartbeats.create(tmp_path_factory.mktemp("heartbeats") / "heartbeats", ranks=3)


@given(st.lists(records, min_size=1, max_size=5))
def test_the_last_record_is_read_and_no_other_slot_is_touched(
    heartbeats: Heartbeats, written: list[RankRecord]
) -> None:
    for one in written:
        heartbeats.write(1, one)
    assert heartbeats.read(1) == written[-1]
    assert heartbeats.read(0) is None
    assert heartbeats.read(2) is None


@given(big)
def test_a_stop_step_reaches_whoever_opens_the_heartbeats(
    tmp_path_factory: pytest.TempPathFactory, step: int
) -> None:
    path = tmp_path_factory.mktemp("stop") / "heartbeats"
    ours = Heartbeats.create(path, ranks=1)
    theirs = Heartbeats.open(path)
    assert theirs.stop_step == NO_STOP
    ours.request_stop(step)
    assert theirs.stop_step == step
    theirs.write(0, record(4))
    assert ours.read(0) == record(4)
    ours.close()
    theirs.close()


def test_a_reader_never_sees_a_torn_record(tmp_path: Path) -> None:
    path = tmp_path / "heartbeats"
    heartbeats = Heartbeats.create(path, ranks=1)
    code = (
        "import sys; from pathlib import Path; from trainer.protocol.heartbeat import *\n"
        "b = Heartbeats.open(Path(sys.argv[1])); step = 0\n"
        "while b.stop_step == NO_STOP:\n"
        "    step += 1; x = float(step)\n"
        "    b.write(0, RankRecord(step=step, epoch=step, total_steps=step,\n"
        "                          phase=Phase(step % 6), pid=step, t_mono_s=x, loss=x, images_per_s=x))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        seen: set[int] = set()
        guard = threading.Timer(100, writer.kill)  # of one hanging; seconds where cores are free
        guard.start()
        while len(seen) < 2000 and writer.poll() is None:
            found = heartbeats.read(0)
            if found is not None:
                assert found == record(found.step)
                seen.add(found.step)
        heartbeats.request_stop(0)
        assert writer.wait(10) == 0
        assert len(seen) == 2000
        guard.cancel()
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize("content", [b"x" * 256, b"FTLB\x01\0\0\0" + b"\1" + b"\0" * 300])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "heartbeats"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="expected a file of heartbeats"):
        Heartbeats.open(path)


@pytest.mark.parametrize("local_rank", [-1, 3])
def test_a_rank_beyond_the_heartbeats_is_refused(heartbeats: Heartbeats, local_rank: int) -> None:
    with pytest.raises(IndexError, match="expected a local rank below 3"):
        heartbeats.read(local_rank)
