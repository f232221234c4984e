"""Following logs on a cluster: what the ranks wrote is what arrives, whatever happens in between."""

from __future__ import annotations

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
