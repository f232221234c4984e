"""A container engine's command line with its state in the folder FAKE_ENGINE; processes stand for containers.

It knows the verbs that the docker backend uses, and refuses all else. There is no mount namespace: binds
reach the program as FTL_PATH_MAP.
"""

import json
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

HOME = Path(os.environ["FAKE_ENGINE"])
VALUED = {
    "--name", "--hostname", "--network", "--network-alias", "--label", "--pull", "--restart", "--user",
    "--stop-timeout", "--security-opt", "--cap-drop", "--cap-add", "--group-add", "--cpus", "--memory",
    "--memory-swap", "--gpus", "--shm-size", "--tmpfs", "--mount", "--workdir", "--env", "--entrypoint",
    "--format", "--filter", "--signal",
}  # fmt: skip
FLAGS = {"--read-only", "--all", "--quiet", "--force", "--follow"}


def fail(sentence: str) -> None:
    sys.stderr.write(f"Error: {sentence}\n")
    sys.exit(1)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def parse(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    options: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        name = rest.pop(0)
        if name in FLAGS:
            options[name] = []
        elif name in VALUED:
            options.setdefault(name, []).append(rest.pop(0))
        else:
            fail(f"unknown flag: {name}")
    return options, rest


def load(kind: str, name: str) -> dict:
    try:
        return json.loads((HOME / kind / name / "state.json").read_text())
    except FileNotFoundError:
        fail(f"No such {kind[:-1]}: {name}")


def save(kind: str, name: str, state: dict) -> None:
    folder = HOME / kind / name
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"state.{os.getpid()}"
    partial.write_text(json.dumps(state))
    partial.replace(folder / "state.json")


def labelled(kind: str, options: dict[str, list[str]]) -> list[str]:
    wanted = [text.removeprefix("label=") for text in options.get("--filter", [])]
    found = []
    for path in sorted((HOME / kind).glob("*/state.json")):
        labels = json.loads(path.read_text())["options"].get("--label", [])
        if all(label in labels for label in wanted):
            found.append(path.parent.name)
    return found


def create(arguments: list[str]) -> None:
    options, (image, *command) = parse(arguments)
    (name,) = options["--name"]
    if (HOME / "containers" / name).exists():
        fail(f'Conflict. The container name "/{name}" is already in use')
    if not (HOME / "networks" / options["--network"][0]).exists():
        fail(f"network {options['--network'][0]} not found")
    command = [*options["--entrypoint"], *command]
    state = {"options": options, "image": image, "command": command, "status": "created", "code": 0}
    save("containers", name, state)


def start(name: str) -> None:
    import shutil
    import subprocess  # here, because a command of the fake should start fast

    state = load("containers", name)
    program = shutil.which(state["command"][0])
    if program is None:
        fail(f'exec: "{state["command"][0]}": executable file not found in $PATH')
    save("containers", name, {**state, "status": "running"})
    log = (HOME / "containers" / name / "log").open("wb")
    subprocess.Popen(
        [sys.executable, "-S", __file__, "supervise", name], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip


def supervise(name: str) -> None:
    import subprocess

    state = load("containers", name)
    env = dict(text.split("=", 1) for text in state["options"].get("--env", []))
    binds = [
        dict(part.partition("=")[::2] for part in text.split(",")) for text in state["options"]["--mount"]
    ]
    env["FTL_PATH_MAP"] = json.dumps({bind["target"]: bind["source"] for bind in binds})
    process = subprocess.Popen(state["command"], env=env)
    folder = HOME / "containers" / name
    (folder / "pid").write_text(str(process.pid))
    code = process.wait()
    if (folder / "state.json").exists():
        save("containers", name, {**state, "status": "exited", "code": code if code >= 0 else 128 - code})


def logs(name: str) -> None:
    load("containers", name)
    folder = HOME / "containers" / name
    with (folder / "log").open("rb") as file:
        while True:
            ended = not folder.exists() or load("containers", name)["status"] == "exited"
            while data := file.read():
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            if ended:
                return
            time.sleep(0.01)


def inspect(name: str, template: str) -> None:
    state = load("containers", name)
    labels = dict(text.split("=", 1) for text in state["options"]["--label"])
    status, field = template.split(" ", 1)
    label = re.fullmatch(r'\{\{index \.Config\.Labels "(.+)"\}\}', field)
    if status != "{{.State.Status}}" or not (label or field == "{{.State.ExitCode}}"):
        fail(f"template parsing error: {template}")
    say(f"{state['status']} {labels.get(label[1], '') if label else state['code']}")


def kill(name: str, text: str) -> None:
    import signal

    if load("containers", name)["status"] != "running":
        fail(f"Container {name} is not running")
    path = HOME / "containers" / name / "pid"
    until = time.monotonic() + 5
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(int(path.read_text()), signal.Signals[f"SIG{text}"])


def remove(name: str) -> None:
    import shutil

    state = load("containers", name)
    if state["status"] == "running":
        with suppress(ProcessLookupError):
            kill(name, "KILL")
        until = time.monotonic() + 5
        while load("containers", name)["status"] == "running" and time.monotonic() < until:
            time.sleep(0.005)
    shutil.rmtree(HOME / "containers" / name)


def network(arguments: list[str]) -> None:
    import shutil

    verb, *rest = arguments
    options, names = parse(rest)
    if verb == "create":
        save("networks", names[0], {"options": options})
    elif verb == "ls":
        say("\n".join(labelled("networks", options)))
    elif verb == "rm":
        for name in names:
            load("networks", name)
            shutil.rmtree(HOME / "networks" / name)
    else:
        fail(f"unknown command: network {verb}")


def main(arguments: list[str]) -> None:
    verb, *rest = arguments
    if verb == "create":
        create(rest)
    elif verb == "network":
        network(rest)
    elif verb == "start":
        start(rest[0])
    elif verb == "supervise":
        supervise(rest[0])
    elif verb == "version":
        say("fake")
    elif verb == "context" and rest[0] == "inspect":
        say(os.environ.get("FAKE_CONTEXT", "unix:///var/run/docker.sock"))
    elif verb in ("ps", "rm", "logs", "inspect", "kill"):
        options, names = parse(rest)
        if verb == "ps":
            say("\n".join(labelled("containers", options)))
        for name in names:
            if verb == "rm":
                remove(name)
            elif verb == "logs":
                logs(name)
            elif verb == "kill":
                kill(name, options["--signal"][0])
            elif verb == "inspect":
                inspect(name, options["--format"][0])
    else:
        fail(f"unknown command: {verb}")


main(sys.argv[1:])
