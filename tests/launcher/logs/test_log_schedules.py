from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.launcher.logs.schedules import KeptSchedules, Schedules

TestSchedules = pytest.mark.timeout(900)(Schedules.TestCase)  # 20 s on a machine that does nothing else
TestSchedules.settings = settings(
    max_examples=int(os.environ.get("FTLAUNCH_LOG_SCHEDULES", "500")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

# FTLAUNCH_LOG_SCHEDULES=300 pytest …; what it holds of single events, test_log_gaps.py holds in milliseconds
TestKeptSchedules = pytest.mark.skipif("FTLAUNCH_LOG_SCHEDULES" not in os.environ, reason="a soak")(
    pytest.mark.timeout(900)(KeptSchedules.TestCase)
)
TestKeptSchedules.settings = settings(
    max_examples=int(os.environ.get("FTLAUNCH_LOG_SCHEDULES", "40")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
