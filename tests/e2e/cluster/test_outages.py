"""What happens around the job: the control plane is gone for a while, a node is cut off. Only on a kit."""

from __future__ import annotations

from tests.e2e.cluster.test_faults import SAVING, check_undisturbed, delete, rows  # noqa: F401 - a fixture


def test_a_restarted_api_server_costs_a_waiting_user_nothing(place, space, write_job, kit):
    place.run("ftlaunch", "submit", write_job(), "--name", "pair")
    waiting = place.begin("ftlaunch", "wait")
    following = place.begin("ftlaunch", "logs", "-f")
    place.run("ftlaunch", "wait", "--for", "running", "--timeout", "60s")
    kit.stop_api_server()
    try:
        refused = place.run("ftlaunch", "status", code=3)
        assert "expected an answer from" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        kit.start_api_server()
    _, words = waiting.communicate(timeout=150)
    assert (waiting.returncode, "answers again" in words) == (0, True)
    lines, _ = following.communicate(timeout=60)
    assert following.returncode == 0
    assert lines.count("trained to step 4") == 1
    delete(place, space, "pair")


def test_a_submit_into_an_outage_is_finished_by_the_next_and_makes_one_job(place, space, write_job, kit):
    cfg = write_job()
    kit.stop_api_server()
    try:
        cut = place.run("ftlaunch", "submit", cfg, "--name", "once", code=3)
        assert "Traceback" not in cut.stderr
        slow = place.begin("ftlaunch", "submit", cfg, "--name", "twice")
    finally:
        kit.start_api_server()
    _, words = slow.communicate(timeout=60)
    assert slow.returncode in (0, 3), words
    place.run("ftlaunch", "submit", cfg, "--name", "once")
    assert space.names("paddlejobs").count("once") == 1
    assert space.names("configmaps").count("once-config") == 1


def test_a_node_that_is_cut_off_and_comes_back_costs_nothing_but_time(place, space, write_job, kit, rows):  # noqa: F811
    cfg = write_job(**SAVING, Global__epochs=16)
    place.run("ftlaunch", "submit", cfg, "--name", "pair")
    place.wait_for(lambda: any(row["event"] == "step" for row in rows()), what="training to begin")
    host = space.get("pod", "pair-worker-1")["spec"]["nodeName"]
    number = host.removeprefix("n")
    kit.run("node-cut", number)
    try:
        place.run("ftlaunch", "wait", "--for", "restarting", "--timeout", "100s")
        status = place.status()
        assert f"its node {host} does not answer" in status["reason"]
        assert f"node {host} of pair-worker-1 does not answer" in place.run("ftlaunch", "why").stdout
    finally:
        kit.run("node-cut", number, "heal")
    place.run("ftlaunch", "wait", "--timeout", "150s")
    assert place.status()["state"] == "Succeeded"
    check_undisturbed(place, space, cfg, rows())
    delete(place, space, "pair")
