"""`Launch.track`: where a job sends its rows."""

from __future__ import annotations

import pytest

from trainer.config.problems import ConfigError
from trainer.protocol.nodefile import format_node_file, parse_node_file
from trainer.protocol.tracking import Target

SECRETS = [{"name": "tracking", "key": "token", "mount": "/secrets/mlflow"}]
MLFLOW = {"uri": "http://tracking:5000", "experiment": "flowers", "credentials": "/secrets/mlflow"}


def test_it_reaches_the_node_processes(make_plan):
    plan = make_plan(
        launch={"secrets": SECRETS, "track": ["tensorboard", {"mlflow": MLFLOW}, {"x:Y": {"a": True}}]}
    )
    track = parse_node_file(format_node_file(plan.node_file)).track
    assert track.targets == (
        Target(tracker="tensorboard"), Target(tracker="mlflow", settings=MLFLOW),
        Target(tracker="x:Y", settings={"a": "true"}),
    )  # fmt: skip


def test_nothing_is_sent_where_nothing_is_named(make_plan):
    assert make_plan().node_file.track is None


@pytest.mark.parametrize(
    ("track", "said"),
    [
        (["tensorbord"], "or another package's, got 'tensorbord'; did you mean 'tensorboard'?"),
        (["tensor board"], "expected the name of a tracker, such as tensorboard, mlflow"),
        ([{"mlflow": {}, "wandb": {}}], "expected one tracker with its settings"),
        ([{"mlflow": {}}], "mlflow: expected uri, the address of a server, or MLFLOW_TRACKING_URI in env"),
        ([{"mlflow": {"uri": "http://x", "url": "y"}}], "mlflow: expected settings of uri, experiment, name"),
        ([{"mlflow": {"uri": "http://x", "credentials": "/etc/x"}}], "credentials to be one of /secrets"),
        ([{"neptune": {"api_token": "x"}}], "neptune: expected no secret in a config, got 'api_token'"),
        ([{"mlflow": {"uri": "http://ann:hunter2@x"}}], "expected no credentials in a config"),
        ([{"wandb": {"mode": "of"}}], "wandb: expected mode to be one of online, offline, got 'of'"),
        ([{"wandb": {"mode": "local"}}], "wandb: expected mode to be one of online, offline, got 'local'"),
        ([{"swanlab": {"mode": "of"}}], "swanlab: expected mode to be one of online, local, offline"),
        (["tensorboard", "tensorboard"], "expected each tracker once, got tensorboard again"),
        ("tensorboard", "expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_to_is_refused(load, track, said):
    with pytest.raises(ConfigError, match="Launch") as refused:
        load(launch={"secrets": SECRETS, "track": track})
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
