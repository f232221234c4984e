from __future__ import annotations

from math import prod

import pytest

from launcher.config.recipe import Facts, choose_arch, choose_recipe


def facts(**more: object) -> Facts:
    values = {"images": 400, "classes": 4, "side": 64, "gpus": 0, "ranks": 1, "pretrained": False, **more}
    return Facts(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [100, 400, 3000, 50_000])
def test_from_scratch_there_are_enough_steps_whatever_the_number_of_images(images):
    recipe = choose_recipe(facts(images=images), arch="PPLCNet_x0_25")
    assert recipe.epochs * images / recipe.batch >= 1200
    assert recipe.epochs >= 30
    assert not recipe.class_weight
    assert (recipe.optimizer, recipe.smoothing, recipe.pretrained) == ("AdamW", 0.0, False)


@pytest.mark.parametrize("side", [8, 28, 33, 64, 100, 2000, None])
def test_a_network_from_scratch_keeps_a_map_of_at_least_four_places(side):
    recipe = choose_recipe(facts(side=side), arch="PPLCNet_x0_25")
    strides = recipe.strides or (2, 2, 2, 2, 2)
    assert recipe.size % prod(strides) == 0
    assert recipe.size // prod(strides) >= 4
    assert recipe.flip is (side is None or side >= 32)


def test_with_weights_strides_are_the_networks_own_and_the_rate_is_a_tenth():
    recipe = choose_recipe(facts(pretrained=True, side=50), arch="PPLCNet_x0_25")
    assert (recipe.strides, recipe.size, recipe.optimizer) == (None, 64, "Momentum")
    assert recipe.rate == pytest.approx(0.01 * recipe.batch / 256, rel=1e-2)
    assert 20 <= recipe.epochs <= 100


def test_what_is_given_is_kept():
    recipe = choose_recipe(facts(), arch="MobileNetV3_small_x0_35", size=96, epochs=3)
    assert (recipe.arch, recipe.size, recipe.epochs, recipe.strides) == (
        "MobileNetV3_small_x0_35",
        96,
        3,
        None,
    )


@pytest.mark.parametrize(("images", "steps"), [(95, 11), (96, 12), (20, 5)])
def test_the_steps_that_are_told_are_those_that_are_trained(images, steps):
    recipe = choose_recipe(facts(images=images), arch="PPLCNet_x0_25")
    assert f" epochs of {steps} steps" in recipe.why[1]
    assert recipe.drop_last is (images // recipe.batch >= 4)


def test_cpus_get_small_networks_and_images():
    assert choose_arch(0)[0] == "PPLCNet_x0_25"
    assert choose_arch(4) == ("ResNet50_vd",)
    on_cpu = choose_recipe(facts(side=4000, pretrained=True), arch="PPLCNet_x0_25")
    on_gpu = choose_recipe(facts(side=4000, pretrained=True, gpus=1), arch="ResNet50_vd")
    assert (on_cpu.size, on_gpu.size) == (128, 224)
