"""Following logs on a cluster: what the ranks wrote is what arrives, whatever happens in between."""

from __future__ import annotations

import signal

from tests.e2e.cluster.test_faults import LONG, delete, rows  # noqa: F401 - a fixture


def test_rank_0_is_followed_over_a_deleted_pod_and_an_outage_line_by_line(place, space, write_job, kit, rows):  # noqa: F811
    cfg = write_job(**{**LONG, "Global__epochs": 30})
    place.run("ftlaunch", "submit", cfg, "--name", "four", "--procs-per-node", "2")
    everybody = place.begin("ftlaunch", "logs", "-f", "--attempt", "all")
    first = place.begin("ftlaunch", "logs", "-f", "--attempt", "all", "--rank", "0", "--no-prefix")
    place.wait_for(lambda: any(row["event"] == "step" for row in rows()), what="training to begin")
    space.kubectl("delete", "pod", "four-worker-0", "--wait=false")
    place.wait_for(lambda: any(row.get("attempt") == 2 for row in rows()), what="the second attempt")
    kit.stop_api_server()
    kit.start_api_server()
    place.run("ftlaunch", "wait", "--timeout", "150s")
    lines, _ = first.communicate(timeout=60)
    written = (space.output / "run/train.log").read_text().splitlines()  # rank 0 writes its lines there, too
    assert len(written) > 60
    assert [line for line in lines.splitlines() if "trainer INFO" in line] == written
    of_all, _ = everybody.communicate(timeout=60)
    assert (first.returncode, everybody.returncode) == (0, 0)
    spoken = [line for line in of_all.splitlines() if "trainer INFO: rank " in line]
    heads = sorted(line.partition("]")[0] + "]" for line in spoken)
    assert heads == [f"[rank {rank} attempt {attempt}]" for rank in range(4) for attempt in (1, 2)]
    delete(place, space, "four")


STUCK = {
    "image": ({"Launch__image": "registry.invalid/nothing:1"}, "image: ", "registry.invalid/nothing:1"),
    "claim": (
        {"Launch__volumes": [{"mount": "/data", "claim": "nothing"}, {"mount": "/output", "claim": "runs"}]},
        "volume: ", 'persistentvolumeclaim "nothing" not found',
    ),
    "place": ({"Launch__node_selector": {"no": "such"}}, "scheduling: ", "0/2 nodes are available"),
    "secret": (
        {"Launch__secrets": [{"name": "no-secret", "key": "token", "mount": "/secrets/x"}]}, "volume: ",
        'secret "no-secret" not found',
    ),
}  # fmt: skip


def test_what_a_job_waits_for_is_said_once_with_its_reason(place, space, write_job):
    followers = {}
    for name, (changes, _, _) in STUCK.items():
        place.run(
            "ftlaunch", "submit", write_job(f"{name}.yaml", **changes), "--name", name, "--no-preflight"
        )
        followers[name] = place.begin("ftlaunch", "logs", "-f", name)
    for name, process in followers.items():
        _, kind, words = STUCK[name]
        said = [process.stderr.readline()]
        while not (kind in said[-1] and words in said[-1]):
            assert said[-1], said
            said.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, "")
        assert f"`ftlaunch logs -f {name}`" in rest
        said += rest.splitlines(keepends=True)
        assert len(said) == len(set(said)), said
        place.run("ftlaunch", "delete", name, "--force")
