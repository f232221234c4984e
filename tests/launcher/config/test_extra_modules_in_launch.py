from __future__ import annotations

import pytest

from tests.launcher.configs import VOLUMES
from trainer.config.problems import ConfigError

CODE = {"mount": "/code", "claim": "code", "local": "code"}
LAUNCH = {"extra_modules": ["/code/my_ops.py", "installed_ops"], "volumes": [*VOLUMES, CODE]}


def test_names_that_nobody_knows_are_warnings_and_their_parameters_are_not_checked(load):
    config = load(
        launch=LAUNCH, Arch={"name": "Mine", "class_num": 4, "wide": True}, Loss__Train=[{"CELos": {"a": 1}}]
    )
    said = [str(warning) for warning in config.warnings]
    assert len(said) == 2
    assert "Arch: 'Mine' is expected from Launch.extra_modules; its parameters are checked there" in said[0]
    assert "Loss.Train.0: 'CELos' is expected" in said[1]
    assert said[1].endswith("did you mean 'CELoss'?")


def test_what_the_launcher_knows_is_checked_as_ever(load):
    with pytest.raises(ConfigError, match="expected a parameter that exists here, got 'epsilom'"):
        load(launch=LAUNCH, Loss__Train=[{"CELoss": {"epsilom": 1}}])


def test_without_modules_an_unknown_name_is_an_error(load):
    with pytest.raises(ConfigError, match=r"expected one of CELoss, .*, got 'Mine'"):
        load(Loss__Train=[{"Mine": {}}])


def test_the_trainer_is_told_of_the_modules(make_plan):
    command = make_plan(launch=LAUNCH).command
    at = command.index("--extra-module")
    assert command[at : at + 4] == ("--extra-module", "/code/my_ops.py", "--extra-module", "installed_ops")


def test_the_trainer_is_told_where_the_file_names_modules_that_are_not_wanted(make_plan):
    command = make_plan(["Launch.extra_modules=[]"], launch=LAUNCH).command
    assert "--extra-module" not in command
    assert command[command.index("-o") + 1] == "Launch.extra_modules=[]"
    assert "Launch.extra_modules=[]" not in make_plan(launch=LAUNCH).command
    assert "Launch.extra_modules=[]" not in make_plan(["Launch.extra_modules=[]"]).command


def test_a_file_under_no_mount_is_refused(make_plan):
    with pytest.raises(ConfigError, match=r"Launch.extra_modules.0: expected a path under a mounted volume"):
        make_plan(launch={"extra_modules": ["/code/my_ops.py"]})


@pytest.mark.parametrize("entry", ["../my_ops.py", "no module", "a\nb", "", 3], ids=repr)
def test_what_is_no_file_and_no_module_is_refused(load, entry):
    with pytest.raises(ConfigError, match="extra_modules"):
        load(launch={**LAUNCH, "extra_modules": [entry]})
