"""Checkpoints out of a job's volume, data into a claim, as a user with our least privilege."""

from __future__ import annotations

import json

from tests.e2e.cluster.space import REPOSITORY


def test_data_goes_to_a_claim_once_and_is_checked_there(make_space, images, cluster, tmp_path):
    from tests.e2e.conftest import Place

    space = make_space()
    space.data.chmod(0o777)  # hostPath volumes ignore fsGroup
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/network/volume-readers.yaml"))
    place = Place(tmp_path, {"KUBECONFIG": str(space.kubeconfig), "FTLAUNCH_IMAGE": cluster.image})
    lacks = place.run("ftlaunch", "data", "check", str(images), "data:digits", code=7)
    assert "0 of " in lacks.stderr
    pushed = place.run("ftlaunch", "data", "push", str(images), "data:digits")
    assert "2 lists have 80 lines" in pushed.stderr
    (part,) = list((space.data / "digits").rglob("train/class0/0.jpg"))
    assert part.read_bytes() == (images / "train/class0/0.jpg").read_bytes()
    part.write_bytes(b"worn out")
    checked = place.run("ftlaunch", "data", "check", str(images), "data:digits", code=7)
    assert checked.stdout == "train/class0/0.jpg: is not there as it is here\n"
    assert (
        place.run("ftlaunch", "data", "push", str(images), "data:digits")
        .stderr.splitlines()[-1]
        .startswith("1 of ")
    )
    place.run("ftlaunch", "data", "check", str(images), "data:digits")
    place.wait_for(lambda: not space.leftovers(), what="no pod of ours to be left")


def test_checkpoints_logs_curves_and_report_are_there_when_pods_and_events_are_not(place, space, write_job):
    cfg = write_job()
    place.run("ftlaunch", "submit", cfg, "--name", "one", "--wait")
    said = [space.kubectl("logs", pod) for pod in space.names("pods")]
    space.kubectl("delete", "pods,events", "--all")
    logs = place.run("ftlaunch", "logs", "one", "--no-prefix")
    assert "one: its pods are gone; these lines are from /output/run/.ftlaunch/logs" in logs.stderr
    assert sorted(spoken(logs.stdout)) == sorted(line for log in said for line in spoken(log)) != []
    rows = map(json.loads, (space.output / "run/metrics.jsonl").read_text().splitlines())
    steps = [row for row in rows if row["event"] == "step"]
    (panel, *_) = json.loads(place.run("ftlaunch", "plot", "one", "--output", "json").stdout)["panels"]
    assert len(panel["curves"][0]["points"]) == len(steps) > 0
    place.run("ftlaunch", "report", "one", "--to", "fetched-report")
    assert (place.folder / "fetched-report/report.html").read_text().startswith("<!")
    listed = json.loads(place.run("ftlaunch", "ckpt", "ls", "one", "--output", "json").stdout)["items"]
    latest = next(item for item in listed if item["latest"])
    to = place.folder / f"one-{latest['name']}"
    assert place.run("ftlaunch", "ckpt", "pull", "one").stdout == f"{to.name}\n"
    theirs = space.output / "run/.ftlaunch/checkpoints" / latest["name"]
    assert {path.name: path.read_bytes() for path in to.iterdir()} == {
        path.name: path.read_bytes() for path in theirs.iterdir()
    }
    assert "0 of " in place.run("ftlaunch", "ckpt", "pull", "one").stderr
    assert place.run("ftlaunch", "ckpt", "verify", "one").stdout.count("whole") == len(listed)
    file = max(theirs.iterdir(), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    torn = place.run("ftlaunch", "ckpt", "verify", "one", code=7).stdout
    assert f"{file.name} is not what the manifest says" in torn
    place.run("ftlaunch", "delete", "one")
    place.wait_for(lambda: not space.leftovers(), what="nothing of the job to be left")


def spoken(log):
    """Return what ranks said in a log, without the tags that pods have and readers may leave out."""
    return [line[line.index("[20") :] for line in log.splitlines() if "trainer INFO: " in line]


def test_a_checkpoint_is_fetched_from_a_running_job_through_its_own_pod(place, space, write_job):
    cfg = write_job(Launch__nodes=1, Global__epochs=500)
    place.run("ftlaunch", "submit", cfg, "--name", "long")

    def listed():
        done = place.run("ftlaunch", "ckpt", "ls", "long", "--output", "name", code=None)
        return done.returncode == 0 and done.stdout

    place.wait_for(lambda: place.status("long")["state"] == "Running", what="the job to run")
    place.wait_for(listed, what="a checkpoint")
    to = place.folder / "fetched"
    place.run("ftlaunch", "ckpt", "pull", "long", "--to", str(to))
    assert (to / "manifest.json").exists()
    assert space.names("pods") == ["long-worker-0"]
    place.run("ftlaunch", "delete", "long", "--force")
    place.wait_for(lambda: not space.leftovers(), what="nothing of the job to be left")
