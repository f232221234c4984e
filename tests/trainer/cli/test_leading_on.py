"""What `trainer` says to a command that it does not have, and in its help."""

from __future__ import annotations

import click
import pytest

from trainer.cli.main import group, main


@pytest.fixture
def trainer(monkeypatch, capsys):
    def run(*argv):
        monkeypatch.setattr("sys.argv", ["trainer", *map(str, argv)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("test", "'eval'"), ("infer", "'predict'"), ("fit", "'train'"), ("onnx", "'export'"),
        ("validate", "'check'"), ("lr_find", "'lr-find'"), ("split", "'make-lists'"),
        ("download", "'weights'"),
        ("trian", "'train'"), ("submit", "`ftlaunch submit`"),
    ],
)  # fmt: skip
def test_another_tool_s_word_leads_to_ours(trainer, typed, meant):
    code, out, err = trainer(typed, "-c", "cfg.yaml")
    assert (code, out) == (2, "")
    assert f"got {typed!r}; did you mean {meant}?" in err


def test_a_word_that_is_like_nothing_gets_the_list(trainer):
    code, _, err = trainer("frobnicate")
    assert (code, "expected one of train, eval" in err, "did you mean" in err) == (2, True, False)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["ckpt", "ls"], "expected one of average, got 'ls'; did you mean `ftlaunch ckpt ls`?"),
        (["ckpt", "pull", "JOB"], "got 'pull'; did you mean `ftlaunch ckpt pull`?"),
        (["weights", "ls"], "expected one of convert, fetch, inspect, list, got 'ls'; did you mean 'list'?"),
        (["top"], "did you mean `ftlaunch top`?"),
    ],
)
def test_a_word_below_a_command_leads_on_too(trainer, typed, sentence):
    code, out, err = trainer(*typed)
    assert (code, out) == (2, "")
    assert sentence in err


def test_help_is_a_command_too(trainer):
    assert trainer("help") == trainer("--help")
    assert trainer("help", "lr-find") == trainer("lr-find", "--help")
    assert trainer("help")[0] == 0


def commands(parent=group, path=()):
    context = click.Context(parent)
    for name in parent.list_commands(context):
        found = parent.get_command(context, name)
        yield " ".join((*path, name)), found
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda part: part if isinstance(part, str) else ""
)
def test_every_option_is_described_by_a_sentence(name, command):
    texts = [command.help or ""]
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, f"{name} {option.opts[0]}"
            texts.append(option.help)
    for text in texts:
        assert text[0].isupper() or text[0] == "`", text
        assert text.rstrip().endswith("."), text
        assert len(text.split()) > 2, text
