from __future__ import annotations

import pytest

from trainer.config.problems import ConfigError


def problems(make_plan, **given) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make_plan(**given)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("on", ["kubernetes", "docker"])
@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/images/train", "/images"),
        ("dataset/flowers102", "/workspace/dataset"),
        ("./dataset/", "/workspace/dataset"),
        ("/database", "/database"),
        ("/data/../images", "/images"),
    ],
)
def test_a_path_under_no_mount_is_refused_with_the_line_to_add(make_plan, on, path, mount):
    (text,) = problems(make_plan, on=on, DataLoader__Train__dataset__image_root=path)
    assert "DataLoader.Train.dataset.image_root: expected a path under a mounted volume" in text
    assert f"`volumes: [{{mount: {mount}, claim: CLAIM}}]`" in text
    assert f"--volume {mount}=CLAIM" in text


def test_the_suggested_mount_is_one_that_is_taken(make_plan):
    volumes = [{"mount": m, "claim": "c"} for m in ("/workspace/dataset", "/output")]
    make_plan(
        launch={"volumes": volumes},
        DataLoader__Train__dataset__image_root="dataset/flowers",
        DataLoader__Train__dataset__cls_label_path="dataset/flowers/list.txt",
    )


def test_the_local_backend_takes_paths_of_this_machine(make_plan):
    make_plan(on="local", gpus_here=4, DataLoader__Train__dataset__image_root="./anywhere")


def test_an_output_folder_that_is_not_written_down_is_checked_too(make_plan, load):
    (text,) = problems(make_plan, Global={"epochs": 1})
    assert "Global.output_dir: expected a path under a mounted volume, got './output/'" in text


def test_output_on_a_read_only_volume_is_refused(make_plan):
    (text,) = problems(make_plan, Global__output_dir="/data/out")
    assert "expected a volume that can be written to" in text


def test_the_innermost_mount_counts(make_plan):
    volumes = [{"mount": "/data", "claim": "a", "read_only": True}, {"mount": "/data/out", "claim": "b"}]
    make_plan(launch={"volumes": volumes}, Global__output_dir="/data/out/run")


def test_what_training_does_not_read_may_lead_nowhere(make_plan):
    make_plan(
        Global__save_inference_dir="./inference",
        Infer={"infer_imgs": "docs/whl", "PostProcess": {"name": "Topk", "class_id_map_file": "labels.txt"}},
    )


def test_weights_from_a_url_are_no_path(make_plan):
    make_plan(Global__pretrained_model="https://weights.example/ResNet50.pdparams")
