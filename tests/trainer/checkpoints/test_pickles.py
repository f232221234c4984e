"""What a file of weights may hold: every form that Paddle and NumPy write is read, and nothing else."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from trainer.checkpoints.contents import load_paddleclas, read_optimizers
from trainer.checkpoints.pdfiles import UnsafeFileError, read_arrays, read_pdfile
from trainer.checkpoints.pickles import MAX_CONTAINERS, MAX_DEPTH, MAX_OPERATIONS, MAX_TEXT_BYTES

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3, 4, 5])
RNG = np.random.default_rng(7)
DTYPES = [
    "?",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
    "c8",
    "c16",
    ">f4",
    ">i8",
    ">u2",
]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def named(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def raw(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


NDARRAY, DTYPE = named("numpy", "ndarray"), named("numpy", "dtype")
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct") + b"(" + NDARRAY + b"K\x00\x85C\x01bt" + b"R"
F4 = (
    DTYPE
    + b"("
    + text("f4")
    + b"\x89\x88tR(K\x03"
    + text("<")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def array(shape: bytes = b"K\x02\x85", dtype: bytes = F4, data: bytes = raw(b"\0" * 8)) -> bytes:
    return RECONSTRUCT + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def table(value: bytes, key: bytes = text("k")) -> bytes:
    return b"\x80\x02}" + key + value + b"s."


def refused(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(UnsafeFileError) as caught:
        read_pdfile(write(tmp_path / "odd.pdparams", content))
    assert str(caught.value).startswith(f"{tmp_path}/odd.pdparams: expected {caught.value.expected}")
    assert len(str(caught.value)) < len(str(tmp_path)) + 350
    return str(caught.value)


@PROTOCOLS
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_type_come_back_as_they_were(tmp_path: Path, protocol: int, dtype: str) -> None:
    base = (RNG.standard_normal((3, 4, 5)) * 50).astype(dtype)
    document = {
        "plain": base,
        "fortran": np.asfortranarray(base),
        "cut": base[::2, 1:, ::-1],
        "turned": base.T,
        "one": base[0, 0, :1],
        "scalar": base.reshape(-1)[0],
        "none": base[:, :0],
        "zero": base[0, 0, 0].reshape(()),
        "long": np.resize(base, 5000),
    }
    path = write(tmp_path / "a.pdparams", pickle.dumps(document, protocol=protocol))
    found = read_pdfile(path)
    assert isinstance(found, dict)
    assert list(found) == list(document)
    for key, value in document.items():
        assert (found[key].dtype.newbyteorder("="), found[key].shape) == (
            value.dtype.newbyteorder("="),
            value.shape,
        )
        np.testing.assert_array_equal(found[key], value, strict=False)
        assert found[key].dtype.isnative


@PROTOCOLS
def test_plain_values_come_back_as_they_were(tmp_path: Path, protocol: int) -> None:
    document = {
        "metric": 0.5,
        "epoch": 3,
        "big": 2**62,
        "small": -(2**63),
        "none": None,
        "yes": True,
        "no": False,
        "text": "ä语🙂",
        "list": [1, [2.5, ["x"]]],
        "tuple": (1, (), ("a", None, 2, 3)),
        "nan": float("inf"),
        "nested": {"a": {"b": [{"c": 1}]}},
        "empty": {},
        "ordered": collections.OrderedDict(a=1, b=[2]),
        "bytes": b"abc",
        "word": 70000,
    }
    assert read_pdfile(write(tmp_path / "a", pickle.dumps(document, protocol=protocol))) == document


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_state_dicts_of_paddle_are_read_with_every_protocol(tmp_path: Path, protocol: int) -> None:
    layer = paddle.nn.Sequential(paddle.nn.Conv2D(3, 40, 3), paddle.nn.BatchNorm2D(40))
    path = tmp_path / "net.pdparams"
    paddle.save(layer.state_dict(), str(path), protocol=protocol)
    found = read_arrays(path)
    assert list(found) == list(layer.state_dict())
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(found[key], value.numpy())


@pytest.mark.parametrize("protocol", [2, 4])
def test_optimizers_with_masters_and_tensors_in_containers_are_read(tmp_path: Path, protocol: int) -> None:
    tensor = paddle.arange(2000, dtype="float32")
    document = [
        {
            "w_moment": tensor, "master_weights": {"w": tensor * 2},
            "LR_Scheduler": {"last_epoch": 4, "last_lr": 0.25, "LinearWarmup_LR": {"last_epoch": 4}},
        }
    ]  # fmt: skip
    path = tmp_path / "net.pdopt"
    paddle.save(document, str(path), protocol=protocol)
    found = read_optimizers(path)[0]
    assert found.learning_rate == 0.25
    np.testing.assert_array_equal(found.arrays["w_moment"], tensor.numpy())
    np.testing.assert_array_equal(found.arrays["master_weights/w"], tensor.numpy() * 2)


def test_slices_of_a_large_tensor_are_joined(tmp_path: Path) -> None:
    whole = RNG.standard_normal((6, 5)).astype("f4")
    parts = {f"w@@.{index}": part for index, part in enumerate(np.array_split(whole.reshape(-1), 4))}
    told = {"w": {"OriginShape": (6, 5), "slices": list(parts)}}
    document = {"b": np.ones(2, "f4"), **parts, "UnpackBigParamInfor@@": told}
    found = read_arrays(write(tmp_path / "a.pdparams", pickle.dumps(document, protocol=2)))
    assert set(found) == {"b", "w"}
    np.testing.assert_array_equal(found["w"], whole)


@pytest.mark.parametrize(
    "told",
    [
        {"w": {"OriginShape": (7, 5), "slices": ["w@@.0"]}},
        {"w": {"OriginShape": (3,), "slices": ["none"]}},
        {"w": {"OriginShape": [3], "slices": ["w@@.0"]}},
        {"w": {"OriginShape": (6,), "slices": ["w@@.0"] * 2}},
        {"w@@.0": {"OriginShape": (3,), "slices": ["w@@.0"]}},
        {"w": 3},
        3,
        {"w": {"slices": [["w@@.0"]]}},
    ],
    ids=range(8),
)
def test_slices_that_do_not_fit_are_refused(tmp_path: Path, told: object) -> None:
    document = {"w@@.0": np.ones(3, "f4"), "UnpackBigParamInfor@@": told}
    assert "the slices that the file tells of" in refused(tmp_path, pickle.dumps(document, protocol=2))


def test_strings_of_python_2_are_names_and_bytes(tmp_path: Path) -> None:
    values = np.arange(1500, dtype="<f4")
    data = b"T" + struct.pack("<I", values.nbytes) + values.tobytes()
    dtype = DTYPE + b"(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"\x80\x02}q\x01U\x01kq\x02" + array(b"M\xdc\x05\x85", dtype, data) + b"s."
    found = read_arrays(write(tmp_path / "old.pdparams", content))
    np.testing.assert_array_equal(found["k"], values)


def test_what_is_referred_to_twice_is_the_same_value(tmp_path: Path) -> None:
    shared = [1, 2]
    found = read_pdfile(write(tmp_path / "a", pickle.dumps({"a": shared, "b": shared}, protocol=4)))
    assert isinstance(found, dict)
    assert found["a"] is found["b"] == shared


def test_an_array_can_be_written_to_and_shares_its_memory_with_no_other(tmp_path: Path) -> None:
    small = np.zeros(1, "u1")  # NumPy's bytes of such arrays are one object, and pickle refers to it twice
    found = read_arrays(write(tmp_path / "a", pickle.dumps({"a": small, "b": small.copy()}, protocol=4)))
    found["a"][0] = 5
    assert found["b"][0] == 0


@pytest.mark.parametrize("length", range(0, 300, 7))
def test_a_file_that_was_cut_is_refused_with_a_place(tmp_path: Path, length: int) -> None:
    whole = pickle.dumps({"a": np.arange(40, dtype="f4"), "b": [1, "x"]}, protocol=4)
    assert length < len(whole)
    assert "at byte" in refused(tmp_path, whole[:length])


class Calls:
    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts


@PROTOCOLS
@pytest.mark.parametrize(
    "value",
    [
        Calls(os.system, ("true",)),
        Calls(eval, ("1",)),
        Calls(getattr, ("a", "upper")),
        Calls(np.load, ("x",)),
        Calls(bytearray, (5,)),
        Calls(collections.OrderedDict, ([("a", 1)], 2)),
        os.getcwd,
        Path("x"),
        {1, 2},
        frozenset("a"),
        1j,
        collections.deque([1]),
        type,
        np.float32,
        Calls(np.ndarray, ((1,),)),
        Calls(np.dtype, ("O",)),
        np.array([object()]),
        np.array(["a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "i4,i4"),
        2**70,
        np.void(b"ab"),
        bytearray(b"x" * 5000),
        b"x" * 5000,
        "x" * 5000,
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_values_that_weights_do_not_need_are_refused(tmp_path: Path, protocol: int, value: object) -> None:
    refused(tmp_path, pickle.dumps({"a": np.zeros(2), "b": value}, protocol=protocol))


@pytest.mark.parametrize("key", [1, 1.5, None, (1, 2), True, b"a"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, key: object) -> None:
    assert "text as the key" in refused(tmp_path, pickle.dumps({key: 1}, protocol=4))


HOSTILE = {
    "object pointers": table(array(dtype=DTYPE + b"(" + text("O8") + b"\x89\x88tR")),
    "an address": table(NDARRAY + b"(K\x01\x85" + F4 + b"\x8a\x08\0\0\0\0\0\0\0\0tR"),
    "ndarray called": table(NDARRAY + b"(K\x02\x85" + F4 + raw(b"\0" * 8) + b"tR"),
    "fewer bytes": table(array(b"M\xe8\x03\x85")),
    "more bytes": table(array(b"K\x01\x85")),
    "negative side": table(array(b"J\xff\xff\xff\xff\x85")),
    "side of text": table(array(text("2") + b"\x85")),
    "yes for a side": table(array(b"\x88\x85")),
    "huge zero": table(array(b"K\x00\x8a\x08\0\0\0\0\0\0\0\x7f\x86", data=raw(b""))),
    "many sides": table(array(b"(" + b"K\x01" * 100 + b"t", data=raw(b"\0" * 4))),
    "dtype subarray": table(array(dtype=DTYPE + b"(" + text("(2,)f4") + b"tR")),
    "dtype commas": table(array(dtype=DTYPE + b"(" + text("f4," * 1000) + b"tR")),
    "dtype fields": table(array(dtype=F4[:-4] + b"}K\x00tb")),
    "dtype itemsize": table(array(dtype=F4.replace(b"NNNJ\xff\xff\xff\xff", b"NNNK\x40"))),
    "state twice": table(array() + b"(K\x01K\x02\x85" + F4 + b"\x89" + raw(b"\0" * 8) + b"tb"),
    "no state": table(RECONSTRUCT),
    "state of a table": table(b"}(K\x01tb"),
    "state of a name": table(NDARRAY + b"Nb"),
    "a name alone": table(NDARRAY),
    "a dtype alone": table(F4),
    "odd bool": table(array(dtype=F4.replace(b"f4", b"b1").replace(b"<", b"|"), data=raw(b"\0\7"))),
    "twice a key": b"\x80\x02}" + text("k") + b"Ns" + text("k") + b"Ns.",
    "itself within": b"\x80\x02]q\x00h\x00a.",
    "table within itself": b"\x80\x02}q\x00" + text("k") + b"h\x00s.",
    "tuple deep": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "list deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep shape": table(array(b")" + b"\x85" * 50_000)),
    "wide shape": table(array(b")" + b"".join(b"q%ch%c\x86" % (k, k) for k in range(60)))),
    "deep module": b"\x80\x04)" + b"\x85" * 50_000 + text("x") + b"\x93.",
    "memo far away": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "memo unknown": b"\x80\x02h\x05.",
    "mark as value": b"\x80\x02(.",
    "mark remembered": b"\x80\x02(q\x00h\x00.",
    "nothing": b"\x80\x02.",
    "two values": b"\x80\x02NN.",
    "more behind": b"\x80\x02}.N",
    "no mark": b"\x80\x02}Nu.",
    "odd pairs": b"\x80\x02}(Nu.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
    "bytes of 8 GiB": b"\x80\x04\x8e" + struct.pack("<Q", 8 << 30) + b"x",
    "bytearray of 2^63": b"\x80\x05\x96" + struct.pack("<Q", 1 << 63) + b"x",
    "text of 4 GiB": b"\x80\x02X\xff\xff\xff\xffx",
    "not utf8": b"\x80\x02X\x01\0\0\0\xff.",
    "protocol 0": b"(dp0\n.",
    "protocol 200": b"\x80\xc8}.",
    "out of band": b"\x80\x05\x97.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"\x80\x02Pabc\n.",
    "instance": b"\x80\x02(iposix\nsystem\n.",
    "endless name": b"\x80\x02c" + b"x" * 100_000,
    "escape in a name": b"\x80\x02cposix\n\x1b]0;x\x07\n)R.",
    "an archive": b"PK\x03\x04" + b"\0" * 50,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_refused_with_a_sentence(tmp_path: Path, name: str) -> None:
    said = refused(tmp_path, HOSTILE[name])
    assert "\x1b" not in said


def test_what_hostile_programs_are_made_of_is_read(tmp_path: Path) -> None:
    found = read_arrays(write(tmp_path / "a.pdparams", table(array())))
    assert (found["k"].tolist(), found["k"].dtype) == ([0.0, 0.0], np.dtype("f4"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x80\x02" + b"N" * (MAX_OPERATIONS + 5), "operations"),
        (b"\x80\x02" + b"}" * (MAX_CONTAINERS + 5), "tables"),
        (b"\x80\x02" + text("x" * MAX_TEXT_BYTES) * 5000, "bytes of text"),
        (b"\x80\x02" + text("ä" * MAX_TEXT_BYTES) + b".", "text of at most"),
        (b"\x80\x02" + text("语" * MAX_TEXT_BYTES) + b".", "text of at most"),
        (pickle.dumps([[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]), f"nested at most {MAX_DEPTH} deep"),
    ],
    ids=["operations", "containers", "texts", "latin text", "long text", "depth"],
)
def test_what_small_things_can_pile_up_to_is_limited(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refused(tmp_path, content)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeFileError, match="expected a plain file"):
        read_pdfile(Path(os.devnull))


@pytest.mark.parametrize("epoch", [float("nan"), float("inf"), -1, "3", 2**62, None, [1], np.complex64(1)])
def test_an_odd_epoch_in_pdstates_is_said_and_not_computed_with(tmp_path: Path, epoch: object) -> None:
    for ending, document in ((".pdparams", {}), (".pdopt", [{}]), (".pdstates", {"epoch": epoch})):
        write(tmp_path / f"latest{ending}", pickle.dumps(document, protocol=4))
    said: list[str] = []
    found = load_paddleclas(
        tmp_path / "latest", run_id="ab", steps_per_epoch=3, world_size=1, say=said.append
    )
    assert found.state.epoch == 0
    assert "expected the number of completed epochs" in said[0]


LIMITED = """
import resource, sys
from pathlib import Path
from trainer.checkpoints.pdfiles import read_arrays
from trainer.checkpoints.pickles import OVERHEAD_BYTES
path = Path(sys.argv[1])
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
most = now + int(float(sys.argv[2]) * path.stat().st_size) + OVERHEAD_BYTES
resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
print(sum(array.nbytes for array in read_arrays(path).values()))
"""


@pytest.mark.parametrize(("form", "share"), [("protocol 4", 1.0), ("protocol 2", 2.0), ("slices", 2.0)])
def test_a_large_file_takes_the_memory_that_is_promised(tmp_path: Path, form: str, share: float) -> None:
    values = np.zeros((40 << 20) // 4, "f4")
    values[::7] = 1.5
    document: dict[str, object] = {"a": values, "b": values + 1, "c": values * 2}
    if form == "slices":
        document["UnpackBigParamInfor@@"] = {
            "w": {"OriginShape": (3, values.size), "slices": ["a", "b", "c"]}
        }
    path = tmp_path / "large.pdparams"
    with path.open("wb") as file:
        pickle.dump(document, file, protocol=4 if form == "protocol 4" else 2 if form == "protocol 2" else 3)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(share)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert (done.returncode, done.stdout) == (0, f"{3 * values.nbytes}\n"), done.stderr[-500:]
