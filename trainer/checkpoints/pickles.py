"""Reads the pickles that Paddle writes, without unpickling them.

A pickle is a program for a small stack machine, and two of its operations call whatever the program names. An
allow-list of names does not make that safe: `numpy.ndarray` and `numpy.dtype`, called with the right
arguments, look at any address of the process. So nothing is called here. The operations are few (pickletools
lists them all); the ones that `paddle.save` and `pickle` need for plain values, arrays and tables are carried
out below by code of our own, and every other one refuses the file.

    value of the machine    what stands for it
    text, numbers, None     themselves
    bytes                   `_Raw`: a buffer of its own, read straight from the file
    a name to be called     `_Name`, one of a closed list
    a dtype, an array       `_Dtype`, `_Array`: filled by the one call and the one state that NumPy writes

An array is a view of its `_Raw`: type, shape and length are checked against one another first, and no NumPy
constructor sees what a file says. A number in the file that says how much follows is held against what is
left of it before anything is allocated, and the small things that a program can pile up (operations,
containers, text) are counted: a file takes no more memory than its own size, twice that while slices of one
tensor are joined, and `OVERHEAD_BYTES`.

Operations: Lib/pickletools.py (CPython 3.13), protocols 2 to 5. What NumPy writes: `array_reduce`,
`arraydescr_reduce` and `gentype_reduce` in numpy/_core/src/multiarray, `_frombuffer` in
numpy/_core/numeric.py (NumPy 1.16 to 2.4). Protocol 2 of Python 3 writes bytes as `_codecs.encode(text,
"latin1")`, Python 2 as a string.
"""

from __future__ import annotations

import math
import os
import re
import stat
import struct
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit

Array = npt.NDArray[Any]

OVERHEAD_BYTES: Final = 64 * 1024 * 1024
"""What a file may take beyond twice its size, whatever it holds: the limits below allow about as much."""
MAX_OPERATIONS: Final = 1_000_000  # an array with its name takes some 30
MAX_CONTAINERS: Final = 150_000  # tables with their keys, lists, tuples, bytes; an array takes some 12
MAX_DEPTH: Final = 16  # a `.pdopt` has 4
MAX_TEXT_BYTES: Final = 4096  # one text; keys of Paddle have less than 200
MAX_TEXTS_BYTES: Final = 16 * 1024 * 1024  # all texts, where one character may take 4 bytes
MAX_DIMENSIONS: Final = 32
_MAX_ELEMENTS: Final = 2**48
_PIECE: Final = 1 << 20
_MARK: Final = object()
_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c8|c16)")


class UnsafeFileError(TrainerError):
    """A file of weights is broken, or holds something else than arrays and plain values.

    Attributes:
        path: The file.
        offset: Byte of the file where that begins; None where it concerns the whole.
    """

    exit_code = Exit.CHECKPOINT

    def __init__(self, path: Path, *, expected: str, got: str, offset: int | None = None) -> None:
        place = "" if offset is None else f" at byte {offset}"
        super().__init__(where=str(path), expected=f"{expected}{place}", got=got)
        self.path = path
        self.offset = offset


class _RefusedError(Exception):
    """An `UnsafeFileError` whose place is added by who knows it."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected = expected
        self.got = got


class _Name(Enum):
    """What a file may name: never an object that can be called."""

    RECONSTRUCT = "_reconstruct"
    SCALAR = "scalar"
    FROM_BUFFER = "_frombuffer"
    NDARRAY = "ndarray"
    DTYPE = "dtype"
    ENCODE = "encode"
    TUPLE = "tuple"
    BYTES = "bytes"
    ORDERED_DICT = "OrderedDict"


_NAMES: Mapping[tuple[str, str], _Name] = {
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy._core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy", "ndarray"): _Name.NDARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("_codecs", "encode"): _Name.ENCODE,
    ("builtins", "tuple"): _Name.TUPLE,  # `paddle.save` reduces a tensor to tuple((name, array))
    ("__builtin__", "tuple"): _Name.TUPLE,
    ("builtins", "bytes"): _Name.BYTES,  # protocol 2 writes empty ones as bytes()
    ("__builtin__", "bytes"): _Name.BYTES,
    ("collections", "OrderedDict"): _Name.ORDERED_DICT,
}


class _Raw:
    """Bytes of the file; `buffer` is uint8 [n], and the first array made of them owns it.

    `is_text` where protocol 2 may have disguised them as a long text: as a text they are not wanted.
    """

    __slots__ = ("buffer", "is_taken", "is_text")

    def __init__(self, buffer: Array, *, is_text: bool = False) -> None:
        self.buffer = buffer
        self.is_text = is_text
        self.is_taken = False

    def take(self) -> Array:
        """Return the bytes; to a second one who asks as a copy, or where they are many as a view of them that
        cannot be written.
        """
        if self.is_taken and self.buffer.size <= MAX_TEXT_BYTES:
            copy: Array = self.buffer.copy()
            return copy
        if self.is_taken:
            view: Array = self.buffer.view()
            view.flags.writeable = False
            return view
        self.is_taken = True
        taken: Array = self.buffer
        return taken


class _Dtype:
    """A type of numbers: `code` without byte order until its state has come."""

    __slots__ = ("code", "order")

    def __init__(self, arguments: tuple[object, ...]) -> None:
        if not arguments or not isinstance(arguments[0], str) or not _DTYPE.fullmatch(arguments[0]):
            found = _words(arguments[0]) if arguments else "none"
            raise _RefusedError("a type of numbers, such as 'f4'", found)
        if not all(isinstance(item, bool | int) for item in arguments[1:3]) or len(arguments) > 3:
            raise _RefusedError("a type of numbers alone", "more arguments")
        self.code = arguments[0].lstrip("<>|=")
        self.order = arguments[0][0] if arguments[0][0] in "<>" else ""

    def set_state(self, state: object) -> None:
        """Take (version, byte order, subarray, names, fields, itemsize, alignment, flags)."""
        if (
            not isinstance(state, tuple) or len(state) not in (8, 9) or state[1] not in ("<", ">", "|", "=")
            or state[2:5] != (None, None, None) or any(number not in (-1, 0, 1) for number in state[5:8])
            or (len(state) == 9 and state[8] is not None)
        ):  # fmt: skip
            raise _RefusedError("the state of a plain type of numbers", "another")
        self.order = state[1] if state[1] in "<>" else ""

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type, from a text that was checked."""
        return np.dtype(self.order + self.code)


class _Array:
    """An array whose state may be still to come."""

    __slots__ = ("array",)

    def __init__(self, array: Array | None = None) -> None:
        self.array = array

    def set_state(self, state: object) -> None:
        """Take (version, shape, dtype, is in Fortran order, bytes)."""
        if self.array is not None or not isinstance(state, tuple) or len(state) != 5 or state[0] != 1:
            raise _RefusedError("the state of an array", "another")
        _, shape, dtype, in_fortran_order, raw = state
        self.array = _make_array(shape, dtype, raw, order="F" if in_fortran_order is True else "C")


def read_pickle(path: Path) -> object:
    """Read a file that `paddle.save` or `pickle.dump` wrote.

    Args:
        path: A plain file.

    Returns:
        dict with text keys, list, tuple, None, bool, int, float, str, bytes of at most 4 KiB, NumPy arrays in
        the machine's byte order, and NumPy scalars. An OrderedDict comes as a dict.

    Raises:
        UnsafeFileError: It holds anything else, is cut off, or asks for more than its size.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError(path, expected="a plain file", got="something else")
        machine = _Machine(file, found.st_size)
        try:
            return _Finisher().finish(machine.run())
        except _RefusedError as error:
            raise UnsafeFileError(
                path, expected=error.expected, got=error.got, offset=machine.operation_at
            ) from error


class _Machine:
    """The stack machine. `operation_at` is the byte of the operation that is carried out."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.operation_at = 0
        self._file = file
        self._left = size
        self._size = size
        self._stack: list[Any] = []
        self._memo: list[Any] = []
        self._operations = 0
        self._containers = 0
        self._texts_bytes = 0

    def run(self) -> object:
        """Carry out the program and return what it leaves."""
        read, operations = self._file.read, _OPERATIONS
        if self._take(min(1, self._left)) != b"\x80":
            raise _RefusedError("a file of paddle.save (a pickle of protocol 2 to 5)", "something else")
        if self._take(1)[0] not in (2, 3, 4, 5):
            raise _RefusedError("a pickle of protocol 2 to 5", "another protocol")
        for self._operations in range(1, MAX_OPERATIONS):
            self.operation_at = self._size - self._left
            code = read(1)
            self._left -= 1
            if code == b".":
                return self._end()
            operation = operations.get(code)
            if operation is None:
                name = "the end of the file" if not code else f"operation {code!r}"
                raise _RefusedError("arrays and plain values", f"{name}, which they do not need")
            operation(self)
        raise _RefusedError(f"at most {MAX_OPERATIONS} operations", "more")

    def _end(self) -> object:
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise _RefusedError("one value", f"{len(self._stack)}")
        if self._left:
            raise _RefusedError("the end of the file after its value", f"{self._left} bytes more")
        return self._stack[0]

    # What operations read of the file.

    def _take(self, count: int) -> bytes:
        if count > self._left:
            raise _RefusedError(f"{count} bytes", f"{max(0, self._left)} to the end of the file")
        data = self._file.read(count)
        if len(data) != count:
            raise _RefusedError(f"{count} bytes", "a file that became shorter")
        self._left -= count
        return data

    def _number(self, form: struct.Struct) -> int:
        return int(form.unpack(self._take(form.size))[0])

    def _raw(self, count: int) -> _Raw:
        if count > self._left:
            raise _RefusedError(f"{count} bytes", f"{max(0, self._left)} to the end of the file")
        self._count(1)
        buffer = np.empty(count, dtype=np.uint8)
        view, done = buffer.data, 0
        while done < count:
            came = self._file.readinto(view[done : done + (_PIECE << 6)])  # type: ignore[attr-defined]
            if not came:
                raise _RefusedError(f"{count} bytes", "a file that became shorter")
            done += came
        self._left -= count
        return _Raw(buffer)

    def _text(self, count: int) -> object:
        if count > MAX_TEXT_BYTES:
            return self._long_text(count)
        self._count_text(count)
        try:
            return self._take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _RefusedError("text in UTF-8", "other bytes") from error

    def _long_text(self, count: int) -> _Raw:
        # Only bytes that protocol 2 disguises as text are so long; a piece at a time, since the text as a
        # whole would take memory once more.
        if count > self._left:
            raise _RefusedError(f"{count} bytes", f"{max(0, self._left)} to the end of the file")
        buffer, done, rest, left = np.empty(count, dtype=np.uint8), 0, b"", count
        while left:
            piece = rest + self._take(min(left, _PIECE))
            left = left - len(piece) + len(rest)
            whole = len(piece) - (piece[-1] >= 0xC0)  # a first byte of two: its second is in the next piece
            try:
                data = piece[:whole].decode("utf-8").encode("latin-1")
            except UnicodeError as error:
                raise _RefusedError(f"text of at most {MAX_TEXT_BYTES} bytes", f"{count} bytes") from error
            buffer[done : done + len(data)] = np.frombuffer(data, dtype=np.uint8)
            done += len(data)
            rest = piece[whole:]
        if rest:
            raise _RefusedError("text in UTF-8", "half a character")
        return _Raw(buffer[:done], is_text=True)

    def _string(self, count: int) -> object:
        # Python 2's `str`: a key, or the bytes of an array
        if count > MAX_TEXT_BYTES:
            return self._raw(count)
        self._count_text(count)
        return self._take(count).decode("latin-1")

    def _line(self) -> str:
        data = self._file.readline(min(256, max(0, self._left)))
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise _RefusedError("a name of at most 255 bytes", "a longer one")
        return data[:-1].decode("utf-8", "replace")

    def _count_text(self, count: int) -> None:
        self._texts_bytes += count
        if self._texts_bytes > MAX_TEXTS_BYTES:
            raise _RefusedError(f"at most {MAX_TEXTS_BYTES} bytes of text", "more")

    # What operations do with the stack.

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _push_container(self, value: object) -> None:
        self._count(1)
        self._stack.append(value)

    def _count(self, containers: int) -> None:
        self._containers += containers
        if self._containers > MAX_CONTAINERS:
            raise _RefusedError(
                f"at most {MAX_CONTAINERS} tables, keys, lists, tuples and strings of bytes", "more"
            )

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _RefusedError("a value on the stack", "none")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise _RefusedError("a value on the stack", "none")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        stack = self._stack
        for at in range(len(stack) - 1, -1, -1):
            if stack[at] is _MARK:
                items = stack[at + 1 :]
                del stack[at:]
                return items
        raise _RefusedError("a mark on the stack", "none")

    def _push_tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push_container(tuple(reversed(items)))

    def _memoize(self, at: int) -> None:
        # Places are numbered in order, from 0 or 1; of one far away all before it would take memory.
        if at > self._operations:
            raise _RefusedError(f"one of {self._operations} places of the memo", f"{at}")
        self._memo += [_MARK] * (at + 1 - len(self._memo))
        self._memo[at] = self._top()

    def _recall(self, at: int) -> None:
        if at >= len(self._memo) or self._memo[at] is _MARK:
            raise _RefusedError(f"one of {len(self._memo)} places of the memo", f"{at}")
        self._stack.append(self._memo[at])

    def _set_items(self, items: list[Any]) -> None:
        table = self._top()
        if not isinstance(table, dict) or len(items) % 2:
            raise _RefusedError("a table and pairs for it", "something else")
        self._count(len(items) // 2)
        for key, value in zip(items[::2], items[1::2], strict=True):
            _set_item(table, key, value)

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise _RefusedError("a list", "something else")
        target.extend(items)

    def _name(self, module: object, name: object) -> None:
        found = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise _RefusedError(
                "arrays and plain values", f"{_words(module)}.{_words(name)}, which could run code"
            )
        self._stack.append(found)

    def _reduce(self) -> None:
        arguments, name = self._pop(), self._pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise _RefusedError("the call of a known name", "another")
        self._push_container(_call(name, arguments))

    def _build(self) -> None:
        state, value = self._pop(), self._top()
        if not isinstance(value, _Array | _Dtype):
            raise _RefusedError("the state of an array", "that of something else")
        value.set_state(state)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)


def _call(name: _Name, arguments: tuple[Any, ...]) -> object:  # noqa: PLR0911, PLR0912 - a table of calls
    """Do what the call of a name means in what NumPy and Paddle write."""
    match name, arguments:
        case _Name.DTYPE, _:
            return _Dtype(arguments)
        case _Name.RECONSTRUCT, (_Name.NDARRAY, (0,), _Raw() | "b"):
            return _Array()
        case _Name.FROM_BUFFER, (_Raw() as raw, _Dtype() as dtype, tuple() as shape, ("C" | "F") as order):
            return _Array(_make_array(shape, dtype, raw, order=order))
        case _Name.SCALAR, (_Dtype() as dtype, (_Raw() | str()) as raw):
            return _make_array((), dtype, raw, order="C")[()]
        case _Name.ENCODE, (str() as text, "latin1"):
            try:
                return _Raw(np.frombuffer(bytearray(text.encode("latin-1")), dtype=np.uint8))
            except UnicodeError as error:
                raise _RefusedError("bytes written as latin1", "other text") from error
        case _Name.ENCODE, (_Raw() as raw, "latin1") if raw.is_text:
            raw.is_text = False
            return raw
        case _Name.BYTES, ():
            return _Raw(np.empty(0, dtype=np.uint8))
        case _Name.TUPLE, (tuple() as items,):
            return items
        case _Name.ORDERED_DICT, ():
            return {}
        case _Name.ORDERED_DICT, ([*pairs],):
            table: dict[str, object] = {}
            for pair in pairs:
                if not isinstance(pair, list | tuple) or len(pair) != 2:
                    raise _RefusedError("pairs for a table", "something else")
                _set_item(table, pair[0], pair[1])
            return table
    raise _RefusedError(f"{name.value} called as NumPy and Paddle do", "other arguments")


def _set_item(table: dict[str, object], key: object, value: object) -> None:
    if not isinstance(key, str):
        raise _RefusedError("text as the key of a table", _words(key))
    if key in table:
        raise _RefusedError("each key of a table once", f"{key!r:.80} twice")
    table[key] = value


def _make_array(shape: object, dtype: object, raw: object, *, order: str) -> Array:
    """Make an array of bytes; the one place where a file becomes NumPy's."""
    if isinstance(raw, str):
        try:
            raw = _Raw(np.frombuffer(bytearray(raw.encode("latin-1")), dtype=np.uint8))
        except UnicodeError as error:
            raise _RefusedError("bytes for an array", "text") from error
    if not isinstance(dtype, _Dtype) or not isinstance(raw, _Raw) or raw.is_text:
        raise _RefusedError("an array of numbers with its bytes", "something else")
    if (
        not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS
        or not all(type(side) is int and 0 <= side < _MAX_ELEMENTS for side in shape)
        or math.prod(side for side in shape if side) > _MAX_ELEMENTS
    ):  # fmt: skip
        raise _RefusedError(f"a shape of at most {MAX_DIMENSIONS} sides", _words(shape))
    kind = dtype.dtype
    wanted = math.prod(shape) * kind.itemsize
    if wanted != raw.buffer.size:
        raise _RefusedError(f"{wanted} bytes for {list(shape)} of {kind.name}", f"{raw.buffer.size}")
    flat = raw.take()
    if kind.kind == "b" and flat.size and int(flat.max()) > 1:
        raise _RefusedError("bytes of 0 and 1 for bool", f"{int(flat.max())}")
    array: Array = flat.view(kind)
    if not kind.isnative:
        native = kind.newbyteorder("=")
        array = array.byteswap(inplace=True).view(native) if array.flags.writeable else array.astype(native)
    return array.reshape(shape, order="F" if order == "F" else "C")


class _Finisher:
    """Puts arrays in the place of what stands for them; refuses what is nested in itself or too deep."""

    def __init__(self) -> None:
        self._done: dict[int, object] = {}
        self._entered: set[int] = set()

    def finish(self, value: object, depth: int = 1) -> object:
        """Return the value as callers get it; a container is made once, however often it is referred to."""
        if isinstance(value, _Array):
            if value.array is None:
                raise _RefusedError("the state of each array", "none for one")
            return value.array
        if isinstance(value, _Raw):
            if value.is_text:
                raise _RefusedError(f"text of at most {MAX_TEXT_BYTES} bytes", "a longer one")
            if value.buffer.size > MAX_TEXT_BYTES:
                raise _RefusedError(
                    f"bytes of at most {MAX_TEXT_BYTES} outside of arrays", f"{value.buffer.size}"
                )
            return value.buffer.tobytes()
        if not isinstance(value, dict | list | tuple):
            if value is None or isinstance(value, bool | int | float | str | np.generic):
                return value
            raise _RefusedError("arrays and plain values", _words(value))
        known = id(value)  # of something that the machine's value holds
        if known in self._done:
            return self._done[known]
        if known in self._entered or depth > MAX_DEPTH:
            raise _RefusedError(f"values nested at most {MAX_DEPTH} deep", "deeper ones")
        self._entered.add(known)
        made: object
        if isinstance(value, dict):
            made = {key: self.finish(item, depth + 1) for key, item in value.items()}
        else:
            made = type(value)(self.finish(item, depth + 1) for item in value)
        self._entered.discard(known)
        self._done[known] = made
        return made


def _words(value: object) -> str:
    """Write a value of the machine shortly; `repr` would follow its nesting, however deep."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, tuple) and all(isinstance(item, bool | int) for item in value[: MAX_DIMENSIONS + 1]):
        return repr(value[: MAX_DIMENSIONS + 1])[:80]
    return repr(value) if isinstance(value, bool | int | float) else type(value).__name__.lstrip("_").lower()


def _integer(machine: _Machine) -> None:
    count = machine._take(1)[0]
    if count > 8:
        raise _RefusedError("a number of 64 bits", f"one of {8 * count}")
    machine._push(int.from_bytes(machine._take(count), "little", signed=True))


def _pushes(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine._push(value)


def _frame(machine: _Machine) -> None:
    count = machine._number(_U8)
    if count > machine._left:
        raise _RefusedError(f"{count} bytes", f"{machine._left} to the end of the file")


_U1, _U2, _U4, _U8 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")

_OPERATIONS: Mapping[bytes, Callable[[_Machine], None]] = {
    b"\x95": _frame,
    b"(": _pushes(_MARK),
    b"N": _pushes(None),
    b"\x88": _pushes(True),
    b"\x89": _pushes(False),
    b"J": lambda m: m._push(m._number(_I4)),
    b"K": lambda m: m._push(m._number(_U1)),
    b"M": lambda m: m._push(m._number(_U2)),
    b"\x8a": _integer,
    b"G": lambda m: m._push(float(_F8.unpack(m._take(8))[0])),
    b"X": lambda m: m._push(m._text(m._number(_U4))),
    b"\x8c": lambda m: m._push(m._text(m._number(_U1))),
    b"\x8d": lambda m: m._push(m._text(m._number(_U8))),
    b"T": lambda m: m._push(m._string(m._number(_U4))),
    b"U": lambda m: m._push(m._string(m._number(_U1))),
    b"B": lambda m: m._push(m._raw(m._number(_U4))),
    b"C": lambda m: m._push(m._raw(m._number(_U1))),
    b"\x8e": lambda m: m._push(m._raw(m._number(_U8))),
    b"\x96": lambda m: m._push(m._raw(m._number(_U8))),
    b"}": lambda m: m._push_container({}),
    b"]": lambda m: m._push_container([]),
    b")": _pushes(()),
    b"t": lambda m: m._push_container(tuple(m._pop_to_mark())),
    b"\x85": lambda m: m._push_tuple(1),
    b"\x86": lambda m: m._push_tuple(2),
    b"\x87": lambda m: m._push_tuple(3),
    b"s": lambda m: m._set_items(list(reversed([m._pop(), m._pop()]))),
    b"u": lambda m: m._set_items(m._pop_to_mark()),
    b"a": lambda m: m._append([m._pop()]),
    b"e": lambda m: m._append(m._pop_to_mark()),
    b"q": lambda m: m._memoize(m._number(_U1)),
    b"r": lambda m: m._memoize(m._number(_U4)),
    b"\x94": lambda m: m._memoize(len(m._memo)),
    b"h": lambda m: m._recall(m._number(_U1)),
    b"j": lambda m: m._recall(m._number(_U4)),
    b"c": lambda m: m._name(m._line(), m._line()),
    b"\x93": lambda m: m._stack_global(),
    b"R": lambda m: m._reduce(),
    b"b": lambda m: m._build(),
}
"""Operation -> what it does. EMPTY_SET, NEWOBJ, INST, OBJ, EXT, PERSID, NEXT_BUFFER and the text forms of
protocol 0 are not among them, on purpose: nothing that Paddle writes needs them."""
