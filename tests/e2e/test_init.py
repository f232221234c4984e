"""Someone with nothing but a folder of images."""

from __future__ import annotations

import shutil


def test_a_folder_of_images_trains_by_two_commands(place, images):
    folder = place.folder / "my images"
    shutil.copytree(images, folder)
    for name in ("train_list.txt", "val_list.txt", "labels.txt"):
        (folder / name).unlink()
    place.run(
        "ftlaunch", "init", "--data", "my images", "--make-lists", "--arch", "PPLCNet_x0_25",
        "--image-size", "32", "--epochs", "1", "--name", "mine",
    )  # fmt: skip
    place.run("ftlaunch", "submit", "cfg.yaml", "--on", "local", "--wait")
    rows = place.rows("output/latest")
    assert [row["event"] for row in rows if row["event"] == "eval"] == ["eval"]
    assert (place.folder / "output/latest/best_model.pdparams").exists()
