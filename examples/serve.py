"""Answer with an exported model, without ftlaunch: by Paddle Inference or ONNX Runtime, once or over HTTP.

    python serve.py inference a.jpg b.jpg
    python serve.py inference a.jpg --runtime onnx
    python serve.py inference --port 8000

It is an example to copy from. The folder is what `trainer export` wrote; its `inference.yml` says how an
image is prepared and what classes are called. Operations that are not here are refused by name: add yours.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

MAX_BYTES = 32 << 20  # of an image that is sent
Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Model:
    """An exported model that answers for encoded images."""

    def __init__(self, folder: Path, runtime: str) -> None:
        described = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
        self._operations = [next(iter(item.items())) for item in described["Infer"]["transforms"]]
        self._names = described["Infer"].get("names") or []
        self._network = open_paddle(folder) if runtime == "paddle" else open_onnx(folder)

    def answer(self, encoded: bytes, *, most: int = 5) -> list[dict[str, Any]]:
        """Return the classes with the highest scores; raises ValueError for what is no image."""
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
        if image is None:
            raise ValueError("expected an image that OpenCV reads, got something else")
        for name, parameters in self._operations:
            image = prepare(image, name, parameters or {})
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
        scores = self._network(batch)[0]
        best = np.argsort(-scores)[:most]
        return [{"class": self._name(int(label)), "score": round(float(scores[label]), 5)} for label in best]

    def _name(self, label: int) -> str:
        return self._names[label] if label < len(self._names) else str(label)


def prepare(image: NDArray[Any], name: str, parameters: dict[str, Any]) -> NDArray[Any]:
    """Carry out one operation on an image [H, W, 3]; it is BGR until DecodeImage has turned it."""
    height, width = image.shape[:2]
    if name == "DecodeImage":
        return image[:, :, ::-1] if parameters.get("to_rgb", True) else image
    if name == "ResizeImage":
        if short := parameters.get("resize_short"):
            scale = short / min(height, width)
            size = (round(width * scale), round(height * scale))
        else:
            size = _pair(parameters["size"])
        return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_LINEAR)
    if name == "CropImage":
        across, down = _pair(parameters["size"])
        left, top = (width - across) // 2, (height - down) // 2
        return image[top : top + down, left : left + across]
    if name == "NormalizeImage":
        scale = parameters.get("scale", 1 / 255)
        scale = 1 / 255 if isinstance(scale, str) else scale  # PaddleClas writes the text 1.0/255.0
        mean = np.array(parameters.get("mean") or [0.485, 0.456, 0.406], np.float32)
        deviation = np.array(parameters.get("std") or [0.229, 0.224, 0.225], np.float32)
        normalised: NDArray[np.float32] = (image.astype(np.float32) * np.float32(scale) - mean) / deviation
        return normalised
    if name == "ToCHWImage":
        return image  # done once, at the end
    raise SystemExit(
        f"inference.yml: expected operations that this example has, got {name}; add it to prepare()"
    )


def _pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def open_paddle(folder: Path) -> Network:
    """Return a function from float32 [N, 3, H, W] to probabilities [N, classes], by Paddle Inference."""
    from paddle import inference

    config = inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
    config.disable_glog_info()
    config.disable_onednn()  # its kernels are a little less exact
    predictor = inference.create_predictor(config)
    given = predictor.get_input_handle(predictor.get_input_names()[0])

    def network(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        given.copy_from_cpu(batch)
        predictor.run()
        found: NDArray[np.float32] = predictor.get_output_handle(
            predictor.get_output_names()[0]
        ).copy_to_cpu()
        return found

    return network


def open_onnx(folder: Path) -> Network:
    """Return the same function, by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / "inference.onnx"), providers=onnxruntime.get_available_providers()
    )
    given = session.get_inputs()[0].name

    def network(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {given: batch})[0]
        return found

    return network


def serve(model: Model, port: int) -> HTTPServer:
    """Return a server at 127.0.0.1 that answers POST, whose body is an image, with JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= MAX_BYTES:
                self._send(413, {"error": f"expected an image of at most {MAX_BYTES} bytes, got {length}"})
                return
            try:
                self._send(200, {"answers": model.answer(self.rfile.read(length))})
            except ValueError as error:
                self._send(400, {"error": str(error)})

        def _send(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return HTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Answer with an exported model.")
    parser.add_argument("folder", type=Path, help="what `trainer export` wrote")
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--runtime", choices=["paddle", "onnx"], default="paddle")
    parser.add_argument("--port", type=int, help="serve over HTTP instead")
    chosen = parser.parse_args()
    model = Model(chosen.folder, chosen.runtime)
    for path in chosen.images:
        answer = {"file_name": str(path), "answers": model.answer(path.read_bytes())}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    if chosen.port is not None:
        with serve(model, chosen.port) as server:
            sys.stderr.write(f"answers at http://127.0.0.1:{server.server_port}/\n")
            server.serve_forever()


if __name__ == "__main__":
    main()
