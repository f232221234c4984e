"""examples/serve.py: prepares images as the trainer does, and answers over HTTP."""

from __future__ import annotations

import importlib.util
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
OPERATIONS = [
    {"DecodeImage": {"to_rgb": True}},
    {"ResizeImage": {"resize_short": 40}},
    {"CropImage": {"size": 32}},
    {"NormalizeImage": {"scale": "1.0/255.0", "order": ""}},
    {"ToCHWImage": None},
]


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("serve_example", REPOSITORY / "examples/serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_answers_like_predict_and_over_http(
    example: Any, workshop: Any, trainer: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(workshop.folder)
    (workshop.folder / "labels.txt").write_text("0 rose\n1 tulip\n2 daisy\n")
    answers = {"name": "Topk", "topk": 2, "class_id_map_file": "labels.txt"}
    workshop.config(Global__epochs=1, Infer={"transforms": OPERATIONS, "PostProcess": answers})
    assert trainer("train", "-c", "cfg.yaml")[0] == 0
    assert trainer("export", "-c", "cfg.yaml", "--to", "inference", "--compare", "2")[0] == 0
    _, out, _ = trainer("predict", "--model", "inference", "val0.png", "--output", "json")
    (theirs,) = json.loads(out)
    model = example.Model(workshop.folder / "inference", "paddle")
    image = (workshop.folder / "val0.png").read_bytes()
    mine = model.answer(image, most=2)
    assert [row["class"] for row in mine] == theirs["label_names"]
    assert [row["score"] for row in mine] == pytest.approx(theirs["scores"], abs=2e-4)

    with example.serve(model, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(urllib.request.Request(address, data=image), timeout=60) as answer:
            assert json.load(answer)["answers"][:2] == mine
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(address, data=b"no image"), timeout=60)
        assert refused.value.code == 400
        assert "expected an image" in json.load(refused.value)["error"]
        server.shutdown()


def test_an_operation_that_it_lacks_is_named(example: Any) -> None:
    import numpy as np

    with pytest.raises(SystemExit, match="got Pad; add it"):
        example.prepare(np.zeros((2, 2, 3), np.uint8), "Pad", {})
