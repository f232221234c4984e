"""`Launch.notify`: whom a job tells what, by a file of a secret."""

from __future__ import annotations

import pytest

from trainer.config.problems import ConfigError
from trainer.protocol.nodefile import NOTIFY_ON, Notify

SECRETS = [{"name": "team-chat", "key": "addresses", "mount": "/secrets/chat"}]


@pytest.mark.parametrize(
    ("notify", "expected"),
    [
        ("/secrets/chat", Notify(file="/secrets/chat", on=NOTIFY_ON)),
        ({"file": "/secrets/chat", "on": ["ended"]}, Notify(file="/secrets/chat", on=("ended",))),
    ],
)
def test_it_reaches_the_node_processes(make_plan, notify, expected):
    assert make_plan(launch={"secrets": SECRETS, "notify": notify}).node_file.notify == expected


def test_nobody_is_told_where_nobody_is_named(make_plan):
    assert make_plan().node_file.notify is None


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        ({"notify": "/secrets/chat"}, "a mount of `secrets`, of which there are none, got '/secrets/chat'"),
        ({"secrets": SECRETS, "notify": "/data/chat"}, "expected notify.file to be one of /secrets/chat"),
        ({"secrets": SECRETS, "notify": {"file": "/secrets/chat", "on": ["often"]}}, "expected"),
        ({"secrets": SECRETS, "notify": "slack://T1/B2/C3"}, "expected"),
    ],
)
def test_what_is_no_file_of_a_secret_is_refused(load, launch, said):
    with pytest.raises(ConfigError, match="Launch") as refused:
        load(launch=launch)
    assert said in str(refused.value)
