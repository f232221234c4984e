"""Mistakes that people make, as changes to a folder that works, each with the command that meets it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mistakes.workspace import (
    begin_a_study,
    edit,
    edit_list,
    evaluate,
    fail_writes,
    finish_a_run,
    rewrite,
    values,
)

Change = Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        what: What was done wrong, for the page.
        command: As typed in the folder.
        exit: What the command ends with.
        change: Makes the mistake in a folder that works; None where the command itself is wrong.
    """

    what: str
    command: str
    exit: int = 2
    change: Change | None = None


VALIDATE, CHECK, TRAIN = (
    "ftlaunch validate cfg.yaml",
    "trainer check -c cfg.yaml",
    "trainer train -c cfg.yaml",
)
RENDER = "ftlaunch render cfg.yaml --on local"

SUBMIT = (
    "ftlaunch submit cfg.yaml -o DataLoader.Train.dataset.cls_label_path=data/train_list.txt "
    "--volume /workspace/data=flowers --volume /workspace/output=runs"
)

_PORT = 36541


def take_port(folder: Path) -> Callable[[], None]:
    """Listen where the page is to be; who else listens there does as well."""
    del folder
    taken = socket.socket()
    with contextlib.suppress(OSError):
        taken.bind(("127.0.0.1", _PORT))
        taken.listen()
    return taken.close


TYPING = (
    Mistake(what="a command that does not exist", command="ftlaunch submitt cfg.yaml"),
    Mistake(what="a trainer command that does not exist", command="trainer trian -c cfg.yaml"),
    Mistake(what="an option that does not exist", command="ftlaunch render cfg.yaml --namespase ml"),
    Mistake(what="a wrong place to run", command="ftlaunch render cfg.yaml --on k8s"),
    Mistake(what="no config", command="ftlaunch validate"),
    Mistake(what="a config that is not there", command="ftlaunch validate config.yml"),
    Mistake(what="a folder instead of a config", command="ftlaunch validate data"),
    Mistake(what="a negative number of GPUs", command=f"{RENDER} --gpus -1"),
    Mistake(what="no nodes", command=f"{RENDER} --nodes 0"),
    Mistake(what="a word for a number", command=f"{RENDER} --gpus four"),
    Mistake(what="a name with capitals and 80 characters", command=f"{RENDER} --name {'MyFlowers' * 9}"[:-1]),
    Mistake(what="a volume without its claim", command=f"{RENDER} --volume /data"),
    Mistake(what="`-o` without a value", command=f"{VALIDATE} -o Global.epochs"),
    Mistake(what="`-o json` where `--output json` is meant", command=f"{VALIDATE} -o json"),
    Mistake(what="`-o` of a key that does not exist", command=f"{VALIDATE} -o Global.epoch=3"),
    Mistake(what="`-o` beyond the end of a list", command=f"{VALIDATE} -o Loss.Train.3.CELoss.weight=1.0"),
    Mistake(what="a job that does not exist", command="ftlaunch status flowers-abcde", exit=4),
    Mistake(what="no job was submitted from here", command="ftlaunch logs", exit=4),
    Mistake(what="a wrong duration", command="ftlaunch wait --timeout 10x"),
    Mistake(
        what="a port for the page that is in use", command=f"ftlaunch ui --port {_PORT}", change=take_port
    ),
)
WRITING = (
    Mistake(what="a key is misspelt", command=f"{VALIDATE} --strict", change=rewrite("epochs:", "epocs:")),
    Mistake(what="a key of `Launch` is misspelt", command=VALIDATE, change=rewrite("  image:", "  imgae:")),
    Mistake(what="a tab", command=VALIDATE, change=rewrite("  epochs: 2", "\tepochs: 2")),
    Mistake(
        what="a key twice", command=VALIDATE, change=rewrite("  epochs: 2\n", "  epochs: 2\n  epochs: 3\n")
    ),
    Mistake(what="a bracket is missing", command=VALIDATE, change=rewrite("topk: [1, 2]", "topk: [1, 2")),
    Mistake(what="text for a number", command=VALIDATE, change=values(Global__epochs="many")),
    Mistake(what="a word that YAML reads as false", command=VALIDATE, change=values(Launch__name=False)),
    Mistake(what="another encoding than UTF-8", command=VALIDATE, change=rewrite("# Three", "# Drei für")),
    Mistake(
        what="two bytes a character, as an editor on Windows may save it",
        command=VALIDATE,
        change=edit("cfg.yaml", lambda content: content.decode().encode("utf-16")),
    ),
    Mistake(
        what="a crop that the model does not take",
        command=VALIDATE,
        change=values(Arch={"name": "ViT_base_patch16_224", "class_num": 3}),
    ),
    Mistake(what="a section is missing", command=VALIDATE, change=rewrite("Optimizer:", "Optimiser:")),
    Mistake(what="an architecture is misspelt", command=VALIDATE, change=values(Arch__name="ResNet50vd")),
    Mistake(
        what="an operation is misspelt",
        command=VALIDATE,
        change=rewrite("- ResizeImage:", "- RezizeImage:"),
    ),
    Mistake(
        what="a parameter of an operation is misspelt",
        command=VALIDATE,
        change=rewrite("size: 32", "sise: 32"),
    ),
    Mistake(what="an optimizer is misspelt", command=VALIDATE, change=values(Optimizer__name="Momentun")),
    Mistake(what="a loss is misspelt", command=VALIDATE, change=rewrite("CELoss:", "CEloss:")),
    Mistake(
        what="a learning rate below 0", command=VALIDATE, change=values(Optimizer__lr__learning_rate=-0.01)
    ),
    Mistake(
        what="a path that lies under no volume",
        command=f"{VALIDATE} --on kubernetes",
        change=rewrite("image_root: data", "image_root: /images"),
    ),
    Mistake(
        what="progress that nobody may write into the job object",
        command=VALIDATE,
        change=values(Launch__publish_progress=True),
    ),
    Mistake(
        what="a token in the environment",
        command=VALIDATE,
        change=rewrite("  image:", "  env: {WANDB_API_KEY: 0123abcd}\n  image:"),
    ),
    Mistake(
        what="more ranks than GPUs",
        command=RENDER,
        change=values(Global__device="gpu", Launch__gpus=2, Launch__procs_per_node=4),
    ),
    Mistake(what="GPUs for a config that says CPU", command=f"{RENDER} --gpus 2"),
    Mistake(what="a cluster that is not there", command=f"{SUBMIT} --context nowhere", exit=3),
)
DATA = (
    Mistake(
        what="a list file is missing", command=CHECK, exit=3, change=lambda f: (f / "train_list.txt").unlink()
    ),
    Mistake(
        what="a folder for a list file",
        command=CHECK,
        exit=3,
        change=rewrite("cls_label_path: train_list.txt", "cls_label_path: data"),
    ),
    Mistake(what="an empty list", command=CHECK, exit=3, change=edit_list(lambda lines: [])),
    Mistake(
        what="a label that is one too large",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: [*lines[:-1], "8.png 3"]),
    ),
    Mistake(
        what="a comma for the space",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: [line.replace(" ", ",") for line in lines[:1]]),
    ),
    Mistake(
        what="paths of Windows",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: ["a\\0.png 0", *lines[1:]]),
    ),
    Mistake(
        what="a line without a label",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: [*lines, "9.png"]),
    ),
    Mistake(
        what="a class name for a label",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: ["0.png rose", *lines[1:]]),
    ),
    Mistake(
        what="a blank line",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: [*lines[:2], "", *lines[2:]]),
    ),
    Mistake(
        what="an image is listed twice with two labels",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: [*lines, "0.png 1"]),
    ),
    Mistake(what="an image is missing", command=CHECK, exit=3, change=lambda f: (f / "data/4.png").unlink()),
    Mistake(
        what="a folder for an image",
        command=CHECK,
        exit=3,
        change=lambda f: ((f / "data/4.png").unlink(), (f / "data/4.png").mkdir()),
    ),
    Mistake(
        what="Windows paths",
        command=CHECK,
        exit=3,
        change=edit_list(lambda lines: ["roses\\0.png 0", *lines[1:]]),
    ),
    Mistake(
        what="a cut image", command=TRAIN, exit=3, change=edit("data/4.png", lambda content: content[:60])
    ),
    Mistake(
        what="a text file with the name of an image",
        command=TRAIN,
        exit=3,
        change=edit("data/4.png", lambda content: b"<html>404</html>"),
    ),
    Mistake(
        what="images of several sizes, and none resizes them",
        command=TRAIN,
        exit=3,
        change=rewrite("        - ResizeImage:\n            size: 32\n", ""),
    ),
    Mistake(
        what="fewer images than a batch",
        command=TRAIN,
        exit=3,
        change=rewrite("batch_size: 3", "batch_size: 64"),
    ),
)
TRAINING = (
    Mistake(what="topk of zero", command=CHECK, change=rewrite("topk: [1, 2]", "topk: [0, 1]")),
    Mistake(
        what="fewer images than a batch that must be whole",
        command=CHECK,
        exit=3,
        change=values(DataLoader__Train__sampler={"batch_size": 64, "drop_last": True}),
    ),
    Mistake(what="the output folder holds another run", command=TRAIN, change=finish_a_run()),
    Mistake(
        what="the output folder is a file",
        command=TRAIN,
        exit=5,
        change=lambda f: (f / "output").write_text(""),
    ),
    Mistake(what="pretrained weights are missing", command=f"{TRAIN} -o Arch.pretrained=weights/mine"),
    Mistake(
        what="weights of another model",
        command=f"{TRAIN} -o Arch.pretrained=other.pdparams",
        change=finish_a_run(arch="MobileNetV3_small_x0_35", keep="other.pdparams"),
    ),
    Mistake(
        what="a broken file of weights",
        command=f"{TRAIN} -o Arch.pretrained=broken.pdparams",
        change=lambda f: (f / "broken.pdparams").write_bytes(b"<html>404</html>"),
    ),
    Mistake(
        what="a checkpoint of another model",
        command=f"{TRAIN} -o Arch.name=PPLCNet_x0_5 --resume latest",
        exit=5,
        change=finish_a_run(),
    ),
    Mistake(what="nothing to resume from", command=f"{TRAIN} --resume other/latest", exit=5),
    Mistake(what="a full disk", command=TRAIN, exit=5, change=fail_writes()),
    Mistake(
        what="a learning rate so high that the loss is no number",
        exit=4,
        command=f"{TRAIN} -o Optimizer.lr.learning_rate=1e30",
    ),
    Mistake(what="no section to evaluate with", command="trainer eval -c cfg.yaml", exit=3),
)
SWEEP, OVER = "ftlaunch sweep cfg.yaml --on local", "--over Optimizer.lr.learning_rate=log(1e-3,1e-1)"

STUDIES = (
    Mistake(what="a study without values", command=SWEEP, change=evaluate),
    Mistake(
        what="a study against a run that is not there",
        command=f"{SWEEP} --over Optimizer.lr.learning_rate=[0.1,0.2] --against quick",
        change=evaluate, exit=4,
    ),
    Mistake(
        what="a study of a key that does not exist", command=f"{SWEEP} --over Optimizer.rate=[0.1,0.2]",
        change=evaluate,
    ),
    Mistake(
        what="a range whose ends are turned round",
        command=f"{SWEEP} --over Optimizer.lr.learning_rate=log(1,0.1)", change=evaluate,
    ),
    Mistake(
        what="a value that the config refuses",
        command=f"{SWEEP} --over Optimizer.lr.learning_rate=[0.1,fast]", change=evaluate,
    ),
    Mistake(what="a grid over a range", command=f"{SWEEP} {OVER} --sampler grid", change=evaluate),
    Mistake(
        what="a study by a metric that nothing measures", command=f"{SWEEP} {OVER} --metric f1",
        change=evaluate,
    ),
    Mistake(what="a study of trainings that measure nothing", command=f"{SWEEP} {OVER}"),
    Mistake(
        what="pruned trials of different lengths", command=f"{SWEEP} --over Global.epochs=[1,2] --prune asha",
        change=evaluate,
    ),
    Mistake(
        what="a study's name that is taken", command=f"{SWEEP} {OVER} --name rates", change=begin_a_study
    ),
    Mistake(
        what="a pod as the driver of a study of this machine", command=f"{SWEEP} {OVER} --driver pod",
        change=evaluate,
    ),
    Mistake(what="a study that is not there", command="ftlaunch sweep status rates", exit=4),
    Mistake(
        what="a study where one job is meant", command="ftlaunch submit --like rates", exit=4,
        change=begin_a_study,
    ),
)  # fmt: skip

GROUPS = {
    "On the command line": TYPING,
    "In the config": WRITING,
    "In lists and images": DATA,
    "While training": TRAINING,
    "Studies": STUDIES,
}
