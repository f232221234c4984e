"""All that a command prints goes through one function, which makes words of others harmless."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRINTERS = {"launcher/cli/printing.py", "trainer/cli/printing.py"}
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp\x7f"
BAR = (b"\r", b"\x1b[K", b"\x1b[?25l", b"\x1b[?25h")
"""What a progress bar writes: to the line's beginning, clear it, hide the cursor, show it."""
DIRECT = {"echo", "secho", "style", "echo_via_pager"}


def test_commands_print_through_their_printer_alone():
    found = []
    for room in ("launcher/cli", "trainer/cli"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name in PRINTERS:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if ast.unparse(node) in {f"click.{each}" for each in DIRECT}:
                    found.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                    found.append(f"{name}:{node.lineno}: print")
    assert found == []


def find_printing(code: str) -> list[str]:
    """Return what writes to a standard stream, asks a person, or ends the process."""
    calls = ("print", "input", "exit", "quit", "sys.exit", "signal.signal")
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in calls:
            found.append(ast.unparse(node))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.stdin"):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("code", ["print(1)", "sys.stderr.write('x')", "sys.exit(2)", "signal.signal(2, f)"])
def test_the_rule_on_use_cases_sees(code):
    assert find_printing(code)


def test_use_cases_print_nothing_and_leave_the_process_alone():
    """They are called from programs and from threads: what is to be said is handed to an observer."""
    found = {
        path.name: find_printing(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "launcher/jobs").glob("*.py"))
    }
    assert len(found) > 10
    assert {name: lines for name, lines in found.items() if lines} == {}


def on_a_terminal(*argv: str, cwd: Path) -> bytes:
    master, slave = pty.openpty()
    environ = os.environ | {"TERM": "xterm-256color", "FTLAUNCH_STATE": str(cwd / "state")}
    environ.pop("NO_COLOR", None)
    program = subprocess.Popen(argv, cwd=cwd, env=environ, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # its end: Linux answers EIO
            break
        if not piece:
            break
        seen += piece
    program.wait()
    os.close(master)
    return seen.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    "argv",
    [
        ("launcher", "validate", "config.yaml"),
        ("launcher", "render", "config.yaml", "-o", f"Global.{HOSTILE}=1"),
        ("launcher", "status", HOSTILE),
        ("launcher", HOSTILE),
        ("launcher", "list", f"--{HOSTILE}"),
        ("trainer", "check", "-c", "config.yaml", "--config-only"),
        ("trainer", "check", "-c", HOSTILE),
        ("trainer", HOSTILE),
        ("trainer", "make-lists", HOSTILE),
    ],
    ids=lambda argv: " ".join(argv[:2]).encode("ascii", "backslashreplace").decode(),
)
def test_hostile_words_reach_a_terminal_harmless(argv, tmp_path):
    quoted = HOSTILE.encode("unicode_escape").decode().replace("\\x7f", "\\x7F")
    (tmp_path / "config.yaml").write_text(
        f'Global: {{"{quoted}": 1, epochs: "{quoted}"}}\nArch: {{name: "{quoted}"}}\n'
    )
    seen = on_a_terminal(sys.executable, "-m", *argv, cwd=tmp_path)
    assert b"title" in seen
    for own in BAR:
        seen = seen.replace(own, b"")
    assert not [byte for byte in seen if byte < 32 and byte not in b"\n\t"]
    assert b"\x9b" not in seen.replace("›".encode(), b"")
    assert "\u202e".encode() not in seen
