"""Secrets are looked for in the very bytes that go into the ConfigMap, not only in what counts of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.load import load_run_config
from trainer.config.problems import ConfigError

TOKEN = "glpat-" + "aB3dE5gH7j" * 2  # the form, of no one
TEXT = (Path(__file__).parents[3] / "examples" / "quickstart.yaml").read_text()


def refusal(text: str, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run_config(Path("cfg.yaml"), content=text.encode(), overrides=overrides)
    said = str(caught.value)
    assert TOKEN not in said
    assert "hunter2" not in said
    return said


@pytest.mark.parametrize("text", [
    f"# {TOKEN}\n{TEXT}", f"{TEXT}# kept: https://me:hunter2@host/x\n",
    TEXT.replace("  seed:", f"  {TOKEN}: 1\n  seed:"),
    TEXT.replace("  seed:", f"  labels: &unused [{TOKEN}]\n  seed:"),
])  # fmt: skip
def test_a_token_anywhere_in_the_file_is_refused_with_its_line(text):
    line = next(n for n, row in enumerate(text.splitlines(), 1) if TOKEN in row or "hunter2" in row)
    assert f"cfg.yaml:{line}:" in refusal(text)


@pytest.mark.parametrize(("env", "override"), [
    (f"{{A: {TOKEN}}}", "Launch.env={}"), ("{API_KEY: hunter2}", "Launch.env={}"),
    (f"{{A: {TOKEN}}}", "Launch.env.A=x"), ("{U: 'postgres://hunter2@db'}", "Launch.env={}"),
])  # fmt: skip
def test_what_an_override_replaces_is_sent_all_the_same(env, override):
    assert "Launch.env." in refusal(TEXT.replace("Launch:", f"Launch:\n  env: {env}"), (override,))


def test_an_override_that_a_later_one_replaces_stands_in_the_command():
    overrides = ("Global.pretrained_model=https://me:hunter2@host/x", "Global.pretrained_model=/data/x")
    assert "-o Global.pretrained_model: expected no credentials" in refusal(TEXT, overrides)


def test_what_is_escaped_in_the_file_is_found_by_its_value():
    assert "Launch.annotations.a" in refusal(
        TEXT.replace("Launch:", f'Launch:\n  annotations: {{a: "\\x67{TOKEN[1:]}"}}')
    )


@pytest.mark.parametrize("value", [
    "password=hunter2", "Authorization: Bearer hunter2", "bearer hunter2hunter2", "api_key: hunter2",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2", "https://hunter2@host/x", "redis://:hunter2@db",
])  # fmt: skip
@pytest.mark.parametrize("place", ["annotations: {{a: '{}'}}", "env: {{A: '{}'}}"])
def test_words_that_introduce_a_secret_count_in_what_is_the_users_own(value, place):
    assert "expected no credentials" in refusal(TEXT.replace("Launch:", f"Launch:\n  {place.format(value)}"))


@pytest.mark.parametrize("value", [
    "ssh://git@host/x", "abfss://data@account.dfs.core.windows.net/x", "password policy: none",
    "postgres://$(DB_USER):$(DB_PASSWORD)@db/x", "mail a@b", "https://host/@scope/x", "bearer of news",
])  # fmt: skip
def test_what_holds_no_secret_is_taken(value):
    text = TEXT.replace("Launch:", f"Launch:\n  annotations: {{a: '{value}'}}")
    run = load_run_config(Path("cfg.yaml"), content=text.encode())
    assert run.job.launch.annotations == {"a": value}


def test_a_secret_is_said_once():
    said = refusal(TEXT.replace("Launch:", f"Launch:\n  env: {{A: {TOKEN}}}"))
    assert len(said.splitlines()) == 1
