from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.node import messages
from trainer.node.messages import Message, RankState, Records, Start, format_message, parse_message
from trainer.protocol.codec import FormatError
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.step_times import StepTimes

finite = st.floats(allow_nan=False, allow_infinity=False)
st.register_type_strategy(float, finite)
st.register_type_strategy(int, st.integers(-(2**63), 2**63))
shares = st.floats(0, 1)
st.register_type_strategy(
    Evaluated,
    st.builds(Evaluated, top1=shares, best_top1=shares, largest_class=shares, images=st.integers(1, 2**63)),
)
counts, seconds = st.integers(0, 2**31), st.floats(0, 1e9)
st.register_type_strategy(
    StepTimes,
    st.builds(
        StepTimes, steps=counts, step_s=seconds, wait_s=seconds, copy_s=seconds, peers_s=seconds,
        fetch_s=seconds, eval_s=seconds, save_s=seconds, workers=counts, ranks=counts,
        cores=st.floats(0, 1e6),
    ),
)  # fmt: skip
st.register_type_strategy(
    Records, st.builds(Records, attempt=..., asked=..., ranks=..., gpu_use=st.none() | shares)
)
KINDS = typing.get_args(Message)


@given(st.one_of([st.from_type(kind) for kind in KINDS]))
def test_every_message_survives_the_wire_as_one_line(message: Message) -> None:
    line = format_message(message)
    assert line.index(b"\n") == len(line) - 1
    assert parse_message(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\n",
        b"[]\n",
        b"{}\n",
        b'{"kind":"nonsense"}\n',
        b'{"kind":"start","attempt":"1","endpoints":[],"master":"a:1"}\n',
        b'{"kind":"start","attempt":1,"endpoints":[1],"master":"a:1"}\n',
        b'{"kind":"start","attempt":1,"endpoints":"a","master":"a:1"}\n',
        b'{"kind":"start","attempt":1,"master":"a:1"}\n',
        b'{"kind":"ready","number":1,"host":"a","ports":[true]}\n',
        b'{"kind":"records","attempt":1,"asked":false,"ranks":[1]}\n',
        b'{"kind":"records","attempt":1,"asked":false,"ranks":[],"gpu_use":2.0}\n',
        b"\xff\xfe\n",
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        parse_message(line)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_being_refused(line: bytes) -> None:
    try:
        parse_message(line)
    except FormatError:
        return


def test_endpoints_and_records_of_a_thousand_ranks_fit_a_line() -> None:
    ranks = tuple(
        RankState(
            rank=rank, recorded=True, step=10**6, epoch=100, total_steps=10**7, phase="compute",
            silent_s=0.123456789, loss=0.123456789, images_per_s=1234.56789,
        )
        for rank in range(1000)
    )  # fmt: skip
    start = Start(
        attempt=1,
        nodes=(0,),
        endpoints=tuple(f"pod-{rank}.example:36543" for rank in range(1000)),
        master="a:1",
    )
    for message in (start, messages.Records(attempt=1, asked=False, ranks=ranks)):
        assert len(format_message(message)) < messages.MAX_LINE_BYTES
