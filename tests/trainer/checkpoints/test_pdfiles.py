from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import paddle
import pytest

from trainer.checkpoints.contents import (
    Contents,
    OptimizerState,
    as_files,
    load_contents,
    load_paddleclas,
    read_optimizers,
)
from trainer.checkpoints.durable import write_file
from trainer.checkpoints.paddleclas import publish
from trainer.checkpoints.pdfiles import UnsafeFileError, read_arrays, read_pdfile, write_arrays
from trainer.checkpoints.state import SamplerState, TrainState, format_state, parse_state
from trainer.checkpoints.store import CheckpointStore
from trainer.protocol.codec import FormatError
from trainer.protocol.layout import CheckpointName, OutputLayout

STATE = TrainState(
    run_id="ab" * 16, epoch=3, step=36, sampler=SamplerState(epoch=3, world_size=2, cursor=8),
    metric=0.5, best_metric=0.75, best_epoch=2, draws="[1]",
)  # fmt: skip


def test_weights_of_paddle_save_are_read(tmp_path: Path):
    layer = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))
    path = tmp_path / "net.pdparams"
    paddle.save(layer.state_dict(), str(path))
    read = read_arrays(path)
    assert list(read) == list(layer.state_dict())
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(read[key], value.numpy())


def test_paddle_load_reads_ours(tmp_path: Path):
    path = tmp_path / "net.pdparams"
    arrays = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    write_file(path, write_arrays(arrays, {"fc.weight": "linear_0.w_0"}))
    loaded = paddle.load(str(path))
    np.testing.assert_array_equal(loaded["fc.weight"].numpy(), arrays["fc.weight"])


def test_an_optimizer_state_of_paddle_save_is_read(tmp_path: Path):
    layer = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.Momentum(parameters=layer.parameters())
    layer(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    path = tmp_path / "net.pdopt"
    paddle.save([optimizer.state_dict()], str(path))
    arrays = read_optimizers(path)[0].arrays
    expected = {key: value for key, value in optimizer.state_dict().items() if key.endswith("velocity_0")}
    assert set(expected) <= set(arrays)
    assert expected
    for key, value in expected.items():
        np.testing.assert_array_equal(arrays[key], value.numpy())


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("document", [Evil(), {"a": Evil()}, [os.getcwd], {"a": np.arange(3), "b": eval}])
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, document):
    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps(document))
    with pytest.raises(UnsafeFileError, match="could run code"):
        read_pdfile(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"a": np.arange(3)})[:-9]])
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, content):
    path = tmp_path / "cut.pdparams"
    path.write_bytes(content)
    with pytest.raises(UnsafeFileError, match=r"cut\.pdparams: expected .* at byte \d+, got "):
        read_pdfile(path)


def test_a_list_is_no_table_of_weights(tmp_path: Path):
    path = tmp_path / "list.pdparams"
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(UnsafeFileError, match="expected a table of arrays, got a list"):
        read_arrays(path)


def test_the_state_survives_its_file():
    assert parse_state(format_state(STATE)) == STATE


def test_a_state_of_another_schema_is_refused():
    with pytest.raises(FormatError, match="expected 1, got 9"):
        parse_state(format_state(STATE).replace('"schema": 1', '"schema": 9'))


@pytest.fixture
def contents() -> Contents:
    return Contents(
        weights={"fc.weight": np.ones((2, 3), dtype=np.float32)},
        automatic_names={"fc.weight": "linear_0.w_0"},
        optimizers=[
            OptimizerState(
                arrays={"linear_0.w_0_velocity_0": np.full((2, 3), 2.0, dtype=np.float32)},
                learning_rate=0.125,
            )
        ],
        state=STATE,
    )  # fmt: skip


def test_what_a_checkpoint_holds_comes_back(tmp_path: Path, contents: Contents):
    store = CheckpointStore(OutputLayout(tmp_path))
    saved = store.save(CheckpointName(3, 36), as_files(contents), run_id=STATE.run_id)
    found = load_contents(saved)
    assert found.state == STATE
    assert found.optimizers[0].learning_rate == 0.125
    np.testing.assert_array_equal(found.weights["fc.weight"], contents.weights["fc.weight"])
    np.testing.assert_array_equal(
        found.optimizers[0].arrays["linear_0.w_0_velocity_0"],
        contents.optimizers[0].arrays["linear_0.w_0_velocity_0"],
    )


def test_paddleclas_names_are_published_and_read_back_as_paddleclas_resumes(
    tmp_path: Path, contents: Contents
):
    layout = OutputLayout(tmp_path)
    saved = CheckpointStore(layout).save(CheckpointName(3, 36), as_files(contents), run_id=STATE.run_id)
    for name in ("latest", "best_model"):
        publish(saved, tmp_path, name=name)
    publish(saved, tmp_path, name="latest")  # again, over what is there
    assert (tmp_path / "best_model" / "model.pdparams").exists()
    assert paddle.load(str(tmp_path / "latest.pdstates")) == {"metric": 0.5, "epoch": 3}
    found = load_paddleclas(tmp_path / "latest", run_id="cd" * 16, steps_per_epoch=12, world_size=4)
    assert (found.state.epoch, found.state.step) == (3, 36)
    assert found.state.sampler == SamplerState(epoch=3, world_size=4, cursor=0)
    assert found.state.best_metric is None
    assert set(found.optimizers[0].arrays) == {"linear_0.w_0_velocity_0"}


def test_names_are_published_by_copies_where_links_fail(tmp_path: Path, contents: Contents, monkeypatch):
    saved = CheckpointStore(OutputLayout(tmp_path)).save(
        CheckpointName(3, 36), as_files(contents), run_id=STATE.run_id
    )

    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    publish(saved, tmp_path, name="latest")
    assert (tmp_path / "latest.pdparams").read_bytes() == (saved.folder / "model.pdparams").read_bytes()
