"""Makes logs.cast and logs.svg: `ftlaunch logs -f` on a real job, one of whose ranks is killed.

`make recording` runs it. asciinema records a pseudo-terminal, termtosvg draws the recording.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COLUMNS, ROWS = 120, 32
JOB = "digits"
CHANGES = {
    "Global": {"epochs": 2, "print_batch_step": 5, "save_interval": 1},
    "Arch": {"name": "PPLCNet_x0_25", "class_num": 10},
    "Launch": {"name": JOB, "nodes": 2, "procs_per_node": 2},
}
SESSION = """
say() { printf '\\033[1m$ %s\\033[0m\\n' "$*"; sleep 1; }
say ftlaunch submit digits.yaml --on local --name digits
ftlaunch submit digits.yaml --on local --name digits
say ftlaunch logs -f
ftlaunch logs -f
code=$?
say 'echo $?'
echo $code
say "ftlaunch logs --attempt all --rank 0,3 --grep 'loss|resum' --tail 6"
ftlaunch logs --attempt all --rank 0,3 --grep 'loss|resum' --tail 6
sleep 2
"""


def main() -> None:
    """Record and draw."""
    tools = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        folder = Path(name)
        prepare(folder)
        env = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FTLAUNCH_STATE": str(folder / "state"), "TERM": "xterm-256color", "SHELL": "/bin/bash",
            "COLUMNS": str(COLUMNS), "LINES": str(ROWS), "PS1": "$ ",
        }  # fmt: skip
        for variable in ("NO_COLOR", "PYTHONUNBUFFERED"):
            env.pop(variable, None)
        killer = threading.Thread(target=kill_a_rank, args=(folder,), daemon=True)
        killer.start()
        cast = HERE / "logs.cast"
        subprocess.run(
            [tools / "asciinema", "rec", "--quiet", "--overwrite", "--idle-time-limit", "1.5", "--cols",
             str(COLUMNS), "--rows", str(ROWS), "--title", "ftlaunch logs -f", "--env", "TERM", "--command",
             "bash session.sh", cast],
            cwd=folder, env=env, check=True,
        )  # fmt: skip
        subprocess.run(["ftlaunch", "delete", JOB, "--force"], cwd=folder, env=env, check=True)
    draw = [tools / "termtosvg", "render", cast, HERE / "logs.svg", "--max-frame-duration", "1500",
            "--min-frame-duration", "100", "--loop-delay", "6000", "--template", "window_frame"]  # fmt: skip
    subprocess.run(draw, check=True)


def prepare(folder: Path) -> None:
    """Write images, lists, the config and what is typed."""
    import yaml

    images = folder / ".quickstart/digits"
    subprocess.run([sys.executable, REPOSITORY / "examples/digits.py", "images", images], check=True)
    subprocess.run([sys.executable, "-m", "trainer", "make-lists", images], check=True)
    document = yaml.safe_load((REPOSITORY / "examples/quickstart.yaml").read_text())
    for section, values in CHANGES.items():
        document[section] |= values
    (folder / "digits.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (folder / "session.sh").write_text(SESSION)


def kill_a_rank(folder: Path) -> None:
    """Kill rank 3 once the second epoch has begun."""
    metrics = folder / ".quickstart/output/quickstart/metrics.jsonl"
    while not metrics.exists() or '"epoch": 2' not in metrics.read_text():
        time.sleep(0.1)
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            values = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"PADDLE_TRAINER_ID=3" in values and b"PADDLE_JOB_ID=" + JOB.encode() in values:
            os.kill(int(path.parent.name), signal.SIGKILL)


if __name__ == "__main__":
    main()
