"""Image references are held against the grammar of the runtimes that will read them."""

from __future__ import annotations

import pytest

from launcher.config.image_reference import check_image

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [
    "trainer", "trainer:1.0", "team/trainer", "docker.io/library/trainer", "localhost/trainer:dev",
    "localhost:5000/trainer", "registry.example:8443/team/sub/trainer:1.0-gpu", "10.0.0.7:5000/trainer",
    "[fd00::1]:5000/trainer", "Registry.Example/trainer", "a__b/c---d.e_f:TAG_1", f"trainer@{DIGEST}",
    f"registry.example/trainer:1.0@{DIGEST}", "xn--7o8h.com/my-image:latest", "trainer:" + "t" * 128,
])  # fmt: skip
def test_what_a_runtime_takes_is_taken(text):
    assert check_image(text) == text


@pytest.mark.parametrize(("text", "said"), [
    ("https://registry.example/trainer:1", "without https://"), ("docker://trainer", "without docker://"),
    ("registry.example/Team/Trainer:1", "as 'registry.example/team/trainer:1'"), ("Trainer", "as 'trainer'"),
    ("trainer:", "a tag of"), ("trainer:-x", "a tag of"), ("trainer:" + "t" * 129, "a tag of"),
    ("trainer:1:2", "a tag of"), ("registry.example:port/trainer", "a registry such as"),
    ("registry_.example/trainer", "a registry such as"), ("-x.example/trainer", "a registry such as"),
    ("team//trainer", "lower-case letters"), ("/trainer", "lower-case letters"), ("trainer/", "lower-case"),
    ("registry.example/", "lower-case letters"), ("a...b", "lower-case letters"), ("a___b", "lower-case"),
    ("-trainer", "lower-case letters"), ("trainer@sha256:abc", "a digest such as"), ("trainer@", "a digest"),
    ("trainer@md5:" + "a" * 32, "a digest such as"), (f"trainer@{DIGEST.upper()}", "a digest such as"),
    (f"trainer@{DIGEST}@{DIGEST}", "a digest such as"), ("two words", "without spaces"), ("", "without"),
    (" trainer", "without spaces"), ("trainer\n", "without spaces"), ("trainér", "lower-case letters"),
    ("ab" * 32, "not an image's id"), ("registry.example/" + "a" * 250, "at most 255 characters"),
])  # fmt: skip
def test_what_a_runtime_refuses_is_refused_with_its_part(text, said):
    with pytest.raises(ValueError, match=r"^expected .*, got ") as caught:
        check_image(text)
    assert said in str(caught.value)
