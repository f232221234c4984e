"""`trainer data-report`: what a person types, sees and finds in the folder."""

from __future__ import annotations

import html.parser
import json
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.docs.pages import commands
from trainer.cli.main import group

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart.yaml"


def run(*args: object, **env: str) -> Result:
    return CliRunner().invoke(group, ["data-report", *map(str, args)], env=env)


def save(picture: np.ndarray, path: Path, quality: int = 92) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tofile(path)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path, photographs: list[np.ndarray]) -> Path:
    """Ten images for training and ten for validation, of two classes, nothing wrong with them."""
    folder = tmp_path / "data"
    for place, picture in enumerate(photographs[:20]):
        save(picture, folder / f"{place}.jpg")
    write(folder, "train_list.txt", [(f"{place}.jpg", place % 2) for place in range(10)])
    write(folder, "val_list.txt", [(f"{place}.jpg", place % 2) for place in range(10, 20)])
    (folder / "labels.txt").write_text("0 cat\n1 dog\n")
    return folder


def write(folder: Path, name: str, lines: list[tuple[str, int]]) -> None:
    (folder / name).write_text("".join(f"{path} {label}\n" for path, label in lines))


def append(folder: Path, path: str, label: int, name: str = "train_list.txt") -> None:
    with (folder / name).open("a") as file:
        file.write(f"{path} {label}\n")


def kinds(folder: Path) -> dict[str, int]:
    said = json.loads((folder / "report.json").read_text())
    return {finding["kind"]: finding["count"] for finding in said["findings"]}


def test_good_data_has_nothing_wrong_or_odd(data: Path, tmp_path: Path):
    result = run(data, "-O", tmp_path / "out", "--fail-on", "anything")
    assert result.exit_code == 0, result.output
    assert "images: 10 of train_list.txt and 10 of val_list.txt, 2 classes" in result.output
    assert "nothing was found that is wrong or odd" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]


def test_labels_are_doubted_where_that_is_asked_for_and_too_little_is_said_so(data: Path, tmp_path: Path):
    result = run(data, "-O", tmp_path / "out", "--label-doubts")
    assert result.exit_code == 0, result.output
    assert "look at: whether labels are wrong is not known: " in result.output
    assert kinds(tmp_path / "out") == {"label-doubts-unknown": 20}


def test_surfaces_of_little_contrast_are_the_nature_of_a_set_of_them(tmp_path: Path):
    draws = np.random.default_rng(2)
    for place in range(12):
        surface = 120 + cv2.GaussianBlur(draws.normal(0, 12, (96, 96, 3)), (0, 0), 1.5)
        save(np.clip(surface, 0, 255).astype(np.uint8), tmp_path / "data" / f"{place}.png")
    save(np.full((96, 96, 3), 120, dtype=np.uint8), tmp_path / "data" / "12.png")
    write(tmp_path / "data", "train_list.txt", [(f"{place}.png", place % 2) for place in range(13)])
    run(tmp_path / "data", "-O", tmp_path / "out")
    assert kinds(tmp_path / "out")["plain"] == 1


def plant_unreadable(data: Path, photographs: list[np.ndarray]) -> None:
    (data / "text.jpg").write_text("no image")
    append(data, "text.jpg", 0)


def plant_missing(data: Path, photographs: list[np.ndarray]) -> None:
    append(data, "nosuch.jpg", 0)


def plant_in_both(data: Path, photographs: list[np.ndarray]) -> None:
    save(photographs[12], data / "again.jpg", quality=40)
    append(data, "again.jpg", 0)


def plant_two_labels(data: Path, photographs: list[np.ndarray]) -> None:
    (data / "same.jpg").write_bytes((data / "3.jpg").read_bytes())
    append(data, "same.jpg", 0)


def plant_copy(data: Path, photographs: list[np.ndarray]) -> None:
    (data / "same.jpg").write_bytes((data / "3.jpg").read_bytes())
    append(data, "same.jpg", 1)


def plant_near_of_another_class(data: Path, photographs: list[np.ndarray]) -> None:
    save(photographs[3][:, ::-1], data / "mirror.jpg")
    append(data, "mirror.jpg", 0)


def plant_untrained(data: Path, photographs: list[np.ndarray]) -> None:
    save(photographs[20], data / "bird.jpg")
    append(data, "bird.jpg", 2, "val_list.txt")


def plant_dark(data: Path, photographs: list[np.ndarray]) -> None:
    save((photographs[20] * 0.15).astype(np.uint8), data / "dark.jpg")
    append(data, "dark.jpg", 0)


def plant_plain(data: Path, photographs: list[np.ndarray]) -> None:
    save(np.full((120, 120, 3), 130, dtype=np.uint8), data / "plain.jpg")
    append(data, "plain.jpg", 0)


def plant_blurred(data: Path, photographs: list[np.ndarray]) -> None:
    save(cv2.GaussianBlur(photographs[20], (0, 0), 8), data / "blurred.jpg")
    append(data, "blurred.jpg", 0)


def plant_narrow(data: Path, photographs: list[np.ndarray]) -> None:
    save(np.ascontiguousarray(photographs[20][:20]), data / "narrow.jpg")
    append(data, "narrow.jpg", 0)


def plant_unbalanced(data: Path, photographs: list[np.ndarray]) -> None:
    write(data, "train_list.txt", [(f"{place}.jpg", int(place == 9)) for place in range(10)])


@pytest.mark.parametrize(
    ("plant", "kind", "is_problem"),
    [
        (plant_unreadable, "unreadable", True),
        (plant_missing, "bad-lines", True),
        (plant_in_both, "in-two-lists", True),
        (plant_two_labels, "two-labels", True),
        (plant_untrained, "untrained-classes", True),
        (plant_copy, "copies", False),
        (plant_near_of_another_class, "two-labels-near", False),
        (plant_dark, "dark", False),
        (plant_plain, "plain", False),
        (plant_blurred, "blurred", False),
        (plant_narrow, "narrow", False),
        (plant_unbalanced, "unbalanced", False),
    ],
)
def test_what_is_planted_is_named(plant, kind, is_problem, data: Path, tmp_path: Path, photographs):
    plant(data, photographs)
    result = run(data, "-O", tmp_path / "out")
    assert result.exit_code == (7 if is_problem else 0), result.output
    assert set(kinds(tmp_path / "out")) == {kind}


def test_places_are_named(data: Path, tmp_path: Path, photographs):
    plant_in_both(data, photographs)
    result = run(data, "-O", tmp_path / "out")
    assert (
        f"{data}/train_list.txt:11: {data}/again.jpg; {data}/val_list.txt:3: {data}/12.jpg" in result.output
    )
    assert "look like one of the other: 2 in 1 pair; leave" in result.output


def test_a_cleaned_list_has_no_problems_and_keeps_all_other_lines(data: Path, tmp_path: Path, photographs):
    for plant in (plant_unreadable, plant_missing, plant_in_both, plant_two_labels):
        plant(data, photographs)
    assert run(data, "-O", tmp_path / "out").exit_code == 7
    cleaned = tmp_path / "out" / "train_list.clean.txt"
    lines = (data / "train_list.txt").read_text().splitlines()
    kept = cleaned.read_text().splitlines()
    left_out = {"text.jpg", "nosuch.jpg", "again.jpg", "same.jpg", "3.jpg"}
    assert kept == [line for line in lines if line.split()[0] not in left_out]
    again = run(cleaned, data / "val_list.txt", "--root", data, "-O", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert not (tmp_path / "out" / "val_list.clean.txt").exists()


def test_what_is_only_odd_leaves_no_line_out(data: Path, tmp_path: Path, photographs):
    plant_copy(data, photographs)
    plant_dark(data, photographs)
    with (data / "train_list.txt").open("a") as listed:
        listed.write(
            (data / "train_list.txt").read_text().splitlines()[0] + "\n"
        )  # on purpose, to count twice
    assert run(data, "-O", tmp_path / "out").exit_code == 0
    assert set(kinds(tmp_path / "out")) == {"copies", "dark"}
    assert not list((tmp_path / "out").glob("*.clean.txt"))


def test_a_line_that_names_no_image_is_named_by_its_place(data: Path, tmp_path: Path):
    with (data / "train_list.txt").open("a") as listed:
        listed.write("nothing\n")
    result = run(data, "-O", tmp_path / "out")
    assert result.exit_code == 7
    assert ": : " not in result.output
    assert ": </bdi>" not in (tmp_path / "out" / "report.html").read_text()


def test_images_are_read_once_by_report_and_check(data: Path, tmp_path: Path, monkeypatch, photographs):
    from trainer.data import image_check

    read: list[Path] = []
    original = image_check.read_encoded
    monkeypatch.setattr(
        image_check, "read_encoded", lambda path, **options: (read.append(path), original(path, **options))[1]
    )
    plant_unreadable(data, photographs)
    first = run(data, "-O", tmp_path / "out")
    assert len(read) == 21
    assert run(data, "-O", tmp_path / "out").output == first.output
    assert len(read) == 21
    save(photographs[21], data / "5.jpg")
    run(data, "-O", tmp_path / "out")
    assert len(read) == 22
    from trainer.data.image_cache import ImageCache

    image_check.check_images([str(data / "7.jpg")], cache=ImageCache())
    assert len(read) == 22


def test_a_config_names_lists_and_the_crop(data: Path, tmp_path: Path, photographs):
    small = cv2.resize(photographs[21], (12, 12))
    save(small, data / "small.jpg")
    append(data, "small.jpg", 0)
    split = "DataLoader.{}.dataset.{}={}"
    set_ = [
        split.format(part, key, value)
        for part, name in (("Train", "train_list.txt"), ("Eval", "val_list.txt"))
        for key, value in (("image_root", data), ("cls_label_path", data / name))
    ]
    result = run("-c", QUICKSTART, *(word for one in set_ for word in ("-o", one)), "-O", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "images: 11 of training and 10 of evaluation" in result.output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["crop"] == [32, 32]
    assert "enlarged more than 2 times to 32 × 32: 1" in result.output


def test_the_printed_commands_run(data: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data.rename("flowers")
    shutil.copytree("flowers", "images")
    for source, target in (("train_list.txt", "train.txt"), ("val_list.txt", "val.txt")):
        shutil.copy(tmp_path / "flowers" / source, target)
    text = QUICKSTART.read_text().replace("local: .quickstart/digits", "local: flowers")
    Path("cfg.yaml").write_text(text)
    for command in commands("data-report"):
        result = CliRunner().invoke(group, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output


def test_json_goes_to_standard_output(data: Path, tmp_path: Path):
    result = run(data, "-O", tmp_path / "out", "--output", "json")
    assert json.loads(result.output) == json.loads((tmp_path / "out" / "report.json").read_text())


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "expected list files, a folder with them, or -c FILE, got neither"),
        (("nosuch.txt",), "nosuch.txt: expected a list file, got no such file"),
        (("x.txt", "-c", "cfg.yaml"), "got both"),
        (("-c", "cfg.yaml", "--root", "x"), "a config has its image_root"),
        (("x.txt", "-o", "a=1"), "name it by -c FILE"),
    ],
)
def test_what_cannot_be_done_is_refused(args, sentence, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert result.exit_code in (2, 3)
    assert sentence in " ".join(result.output.split())
    assert list(tmp_path.glob("data-report")) == []


def test_a_folder_without_lists_leads_on(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty")
    assert result.exit_code == 3
    assert "`trainer make-lists` writes them" in result.output


class Reader(html.parser.HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202eabc",
    "汉字 é",
    "{{ 7 * 7 }}",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_inert(hostile: str, data: Path, tmp_path: Path, photographs):
    file = hostile.replace("/", "∕") + ".jpg"
    (data / file).write_text("no image")
    append(data, file, 0)
    (data / "labels.txt").write_text(f"0 {hostile}\n1 dog\n")
    assert run(data, "-O", tmp_path / "out").exit_code == 7
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert hostile in reader.text
    assert file in reader.text
    assert not reader.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
    for name, value in reader.attributes:
        assert not name.startswith("on")
        assert name != "src" or value.startswith("data:image/jpeg;base64,")
        assert name != "href"


def test_the_page_allows_itself_nothing_from_elsewhere(data: Path, tmp_path: Path):
    run(data, "-O", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"" in page


def test_many_classes_make_no_large_page(tmp_path: Path, photographs):
    folder = tmp_path / "data"
    for place, picture in enumerate(photographs[:20]):
        save(picture, folder / f"{place}.jpg")
    names = [f"{place}-{number}.jpg" for place in range(20) for number in range(50)]
    for name in names:
        (folder / name).hardlink_to(folder / f"{name.partition('-')[0]}.jpg")
    write(folder, "train_list.txt", [(name, number) for number, name in enumerate(names)])
    run(folder, "-O", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size < 5_000_000
