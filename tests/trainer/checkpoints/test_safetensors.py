from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from trainer.checkpoints.durable import write_file
from trainer.checkpoints.pdfiles import UnsafeFileError, read_arrays, write_arrays
from trainer.checkpoints.safetensors import read_safetensors, write_safetensors
from trainer.cli.weights import command

# What safetensors.numpy.save of the library (0.8.0) made of ARRAYS and {"format": "np"}.
OF_LIBRARY = (
    b'p\x01\0\0\0\0\0\0{"__metadata__":{"format":"np"},"n":{"dtype":"I64","shape":[],"data_offsets":'
    b'[0,8]},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},"w":{"dtype":"F32","shape":[2,2],'
    b'"data_offsets":[8,24]},"h":{"dtype":"F16","shape":[1],"data_'
    b'offsets":[24,26]},"a.b":{"dtype":"U8","shape":[3],'
    b'"data_offsets":[26,29]},"t":{"dtype":"BOOL","shape":[2],"data_offsets":'
    b"[29,31]}}      \x07\0\0\0\0\0\0\0"
    b"\0\0\xc0?\0\0\0\xc0\0\0\0\0\0\0@@\x008\x01\x02\xff\x01\0"
)
ARRAYS: dict[str, Any] = {
    "w": np.array([[1.5, -2], [0, 3]], "f4"),
    "a.b": np.array([1, 2, 255], "u1"),
    "h": np.array([0.5], "f2"),
    "n": np.array(7, "i8"),
    "e": np.zeros((0, 3), "f4"),
    "t": np.array([True, False]),
}


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(
    dtype: object = "F32", shape: object = (1,), begin: object = 0, end: object = 4
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_file_of_the_library_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(OF_LIBRARY)
    found, about = read_safetensors(path)
    assert about == {"format": "np"}
    assert set(found) == set(ARRAYS)
    for key, value in ARRAYS.items():
        np.testing.assert_array_equal(found[key], value, strict=True)


def test_a_file_is_written_as_the_library_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_file(path, write_safetensors(ARRAYS, {"format": "np"}))
    assert path.read_bytes() == OF_LIBRARY


@pytest.mark.parametrize("order", ["C", "F"])
def test_any_layout_in_memory_is_written_as_the_same_values(tmp_path: Path, order: Any) -> None:
    value = np.arange(24, dtype=">f8").reshape((2, 3, 4), order=order)
    path = tmp_path / "a.safetensors"
    write_file(path, write_safetensors({"a": value, "b": value[:, ::-1]}))
    found = read_safetensors(path)[0]
    np.testing.assert_array_equal(found["a"], value)
    np.testing.assert_array_equal(found["b"], value[:, ::-1])


def test_bfloat16_comes_as_float32_of_the_same_value(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 0.0, 3.0e38, np.inf], "f4")
    upper = (values.view("u4") >> 16).astype("<u2")
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of({"b": entry("BF16", (5,), 0, 10)}, upper.tobytes()))
    found = read_safetensors(path)[0]["b"]
    np.testing.assert_array_equal(found, (upper.astype("u4") << 16).view("f4"))
    assert found[0] == 1.0


def test_a_type_that_the_format_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="a: expected a type that safetensors has, got complex64"):
        write_safetensors({"a": np.zeros(1, "c8")})


BROKEN = {
    "empty": b"",
    "short": b"\x01\0\0",
    "endless header": struct.pack("<Q", 2**63) + b"{}",
    "header beyond the file": struct.pack("<Q", 100) + b"{}",
    "no JSON": file_of(b"{"),
    "a list": file_of([]),
    "hole": file_of({"a": entry(), "b": entry(begin=8, end=12)}, b"\0" * 12),
    "overlap": file_of({"a": entry(), "b": entry(begin=2, end=6)}, b"\0" * 6),
    "twice the same bytes": file_of({"a": entry(), "b": entry()}, b"\0" * 4),
    "bytes behind": file_of({"a": entry()}, b"\0" * 5),
    "bytes missing": file_of({"a": entry()}, b"\0" * 3),
    "not from 0": file_of({"a": entry(begin=4, end=8)}, b"\0" * 8),
    "another length": file_of({"a": entry(shape=(2,))}, b"\0" * 4),
    "huge shape": file_of({"a": entry(shape=(2**40, 2**40), end=4)}, b"\0" * 4),
    "huge zero": file_of({"a": entry(shape=(0, 2**50, 2**50), end=0)}),
    "negative": file_of({"a": entry(shape=(-1,))}, b"\0" * 4),
    "text": file_of({"a": entry(shape=("1",))}, b"\0" * 4),
    "yes": file_of({"a": entry(shape=(True,))}, b"\0" * 4),
    "type": file_of({"a": entry("O8")}, b"\0" * 4),
    "type of a list": file_of({"a": entry([])}, b"\0" * 4),
    "deep": file_of(b"[" * 100_000),
    "twice a name": file_of(
        b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}", b"\0" * 4
    ),
    "metadata of numbers": file_of({"__metadata__": {"a": 1}}),
    "400 digits": file_of(b'{"a":' + b"9" * 400 + b"}"),
    "many sides": file_of({"a": entry(shape=(1,) * 60)}, b"\0" * 4),
    "odd bool": file_of({"a": entry("BOOL", (1,), 0, 1)}, b"\7"),
    "entry of text": file_of({"a": "b"}),
    "no places": file_of({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_header_that_does_not_fit_its_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(BROKEN[name])
    with pytest.raises(UnsafeFileError, match=r"odd\.safetensors: expected ") as caught:
        read_safetensors(path)
    assert len(str(caught.value)) < len(str(path)) + 300


def test_weights_are_converted_there_and_back_with_their_names(tmp_path: Path) -> None:
    arrays = {"fc.weight": ARRAYS["w"], "fc.bias": np.ones(2, "f4"), "n": ARRAYS["n"]}
    names = {"fc.weight": "linear_0.w_0", "fc.bias": "linear_0.b_0"}
    source, middle, target = (tmp_path / name for name in ("a.pdparams", "b.safetensors", "c.pdparams"))
    write_file(source, write_arrays(arrays, names))
    for one, other in ((source, middle), (middle, target)):
        result = CliRunner().invoke(command, ["convert", str(one), str(other)])
        assert (result.exit_code, result.stdout) == (0, f"{other}: 3 keys of {one}\n")
    document = pickle.loads(target.read_bytes())
    assert document.pop("StructuredToParameterName@@") == names
    for key, value in arrays.items():
        np.testing.assert_array_equal(document[key], value, strict=True)
        np.testing.assert_array_equal(read_arrays(middle)[key], value, strict=True)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("a.pdparams", "pass --overwrite"),
        ("b.onnx", "ends with .pdparams or .safetensors"),
        ("no/b.safetensors", "to write to"),
    ],
)
def test_a_conversion_that_cannot_be_says_why_and_leaves_nothing(
    tmp_path: Path, target: str, says: str
) -> None:
    source = tmp_path / "a.pdparams"
    write_file(source, write_arrays({"a": np.ones(1, "f4")}, {}))
    before = source.read_bytes()
    result = CliRunner().invoke(command, ["convert", str(source), str(tmp_path / target)])
    assert result.exit_code not in (0, 1)
    assert says in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdparams"]
    assert source.read_bytes() == before
