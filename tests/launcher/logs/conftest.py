from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.fakes.virtual_time import VirtualTimeLoop


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    """A loop whose time passes when a test says so; what a test leaves going is ended."""
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(loop)
    yield loop
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
    asyncio.set_event_loop(None)
