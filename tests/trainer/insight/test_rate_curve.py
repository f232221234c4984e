from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from trainer.insight.rate_curve import draw_svg, draw_text

RATES = np.geomspace(1e-6, 1.0, 100).tolist()
LOSSES = [2.3 - 1.5 * min(1.0, max(0.0, (k - 50) / 30)) + (0.5 * max(0, k - 90)) ** 2 for k in range(100)]
FOUND = {"valley": 2e-3, "steep": 5e-3, "minimum": 5e-3}


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_curve_fits_the_terminal_and_marks_the_proposals(columns):
    lines = draw_text(RATES, LOSSES, FOUND, columns=columns).splitlines()
    assert max(map(len, lines)) <= min(80, columns)
    (marks,) = [line for line in lines if "v" in line and "•" not in line]
    assert marks.count("*") == 1  # steep and minimum are one
    assert marks.index("v") < marks.index("*")
    low, high = lines[-1].split()[0], lines[-1].split()[-1]
    assert (low, high) == ("1e-06", "1e+00")
    assert sum(line.count("•") for line in lines) > 15


def test_what_grows_far_above_the_beginning_does_not_press_the_rest_flat():
    labels = [line[:8].strip() for line in draw_text(RATES, LOSSES, {}).splitlines() if "│" in line]
    shown = [float(label) for label in labels if label]
    assert shown[0] == pytest.approx(2.3 + 0.75)
    assert shown[-1] == pytest.approx(0.8)


def test_a_flat_curve_is_drawn_too():
    assert "•" in draw_text(RATES, [1.0] * 100, {})
    ET.fromstring(draw_svg(RATES, [1.0] * 100, {}))


def test_the_svg_is_one_picture_without_scripts():
    text = draw_svg(RATES, LOSSES, {**FOUND, "<script>": 1e-4})
    root = ET.fromstring(text)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "rect", "line", "text", "polyline"}
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    (curve,) = [element for element in root.iter() if element.tag.endswith("polyline")]
    points = [tuple(map(float, pair.split(","))) for pair in curve.attrib["points"].split()]
    assert len(points) == 100
    assert all(64 <= x <= 720 and 24 <= y <= 316 for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
