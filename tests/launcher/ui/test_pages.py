"""What the page shows of runs: from their folders at once, and asked for only while somebody looks."""

from __future__ import annotations

import html
import json
import re

import pytest

from launcher.errors import UnreachableError
from launcher.jobs import lifecycle
from launcher.jobs.options import SubmitOptions
from launcher.jobs.resolve import find_job
from launcher.jobs.submit import submit
from launcher.objects import CONFIG_MAPS
from launcher.ui import app, team, watch

HOSTILE = [
    "<script>window.hacked=1</script>", "\"><img src=x onerror='window.hacked=1'>", "\x1b[31mred\x1b[0m \x07",
    "\u202eright to left\u202c", "{{ 7*7 }}", "line\nbreak", "x" * 5000,
]  # fmt: skip


@pytest.fixture
def job(write_config, cluster, store, monkeypatch):
    """A job of two nodes on a cluster, which runs."""
    found = submit(write_config(), SubmitOptions(on="kubernetes", name="flowers", namespace="ml", nodes=2))
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
    cluster.write_log("flowers-worker-0", b"[a1 r0] one\n[a1 r0] two\n")

    def refuse(job):
        raise UnreachableError("nobody reaches into pods here")

    monkeypatch.setattr(watch, "read_metrics", refuse)
    return found


@pytest.fixture
def requests(cluster, monkeypatch):
    """Requests to the cluster, as they are made."""
    made = []
    for name in ("get", "list", "read_log"):
        if hasattr(cluster, name):
            own = getattr(cluster, name)
            monkeypatch.setattr(
                cluster, name, lambda *a, _own=own, _name=name, **k: (made.append(_name), _own(*a, **k))[1]
            )
    return made


def test_the_list_has_the_newest_run_first_and_asks_nobody(page, job, add_run, requests):
    add_run("older")
    text = page.get().text
    assert text.index(">flowers</a>") < text.index(">older</a>")
    assert requests == []


def test_while_a_list_is_open_the_cluster_is_asked_and_then_no_more(page, job, requests):
    events = page.follow("stream", lambda events: "Running" in json.dumps(events))
    assert requests
    assert len(page.app.hub) == 0
    assert any("row:flowers" in data for name, data in events if name == "parts")


def test_a_run_that_nobody_looks_at_costs_no_request(page, job, requests):
    for tab in ("", "logs", "events", "config", "report"):
        assert page.get(f"run/flowers/{tab}").status_code == 200
    page.get("compare?job=flowers&job=flowers")
    assert requests == []


def test_an_open_run_shows_state_ranks_and_the_end_of_its_log(page, job, requests):
    events = page.follow("run/flowers/stream", lambda events: "two" in json.dumps(events))
    shown = {key: html for _, data in events for key, html in data.items()}
    assert "Running" in shown["head"]
    assert "flowers-worker-1" in shown["ranks"]
    assert "Cancel" in shown["actions"]
    count = len(requests)
    assert (count > 0, len(page.app.hub)) == (True, 0)


def test_two_who_look_at_one_run_have_it_asked_for_once(page, job):
    made = []
    hub = page.app.hub

    class Once:
        def attend(self, wake):
            pass

        leave = attend

        def end(self):
            made.append("ended")

    def make():
        made.append("made")
        return Once()

    with hub.attend("job", make, print), hub.attend("job", make, print):
        assert made == ["made"]
    assert made == ["made", "ended"]


def test_lines_of_a_log_come_once_each_and_can_be_searched(page, job):
    def lines(events):
        return [line for name, data in events if name == "lines" for line in data["lines"]]

    whole = page.follow("run/flowers/stream?tab=logs", lambda events: len(lines(events)) >= 2)
    assert lines(whole) == ["[rank 0] one", "[rank 0] two"]
    found = page.follow("run/flowers/stream?tab=logs&find=TWO", lines)
    assert lines(found) == ["[rank 0] two"]
    assert "expected numbers such as" in page.get("run/flowers/logs?rank=x").text


def test_events_of_a_run_are_shown_while_somebody_looks(page, job):
    events = page.follow("run/flowers/stream?tab=events", lambda events: "body" in json.dumps(events))
    assert any("body" in data for _, data in events)


def test_the_configuration_says_where_each_value_comes_from(page, write_config, cluster, store):
    options = SubmitOptions(on="kubernetes", name="flowers", namespace="ml", overrides=("Global.epochs=7",))
    submit(write_config(), options, command=("submit", "cfg.yaml", "--nodes", "1"))
    rows = dict(
        re.findall(r'<tr><td class="path">(.*?)</td><td><bdi>.*?</bdi></td><td class="path.*?">(.*?)</td>',
                   page.get("run/flowers/config").text)
    )  # fmt: skip
    assert rows["Global.epochs"] == "-o Global.epochs=7"
    assert rows["Arch.name"].startswith("cfg.yaml:")
    assert rows["Global.seed"].startswith(("cfg.yaml:", "default"))
    assert rows["--nodes"] == "ftlaunch submit"


def test_cancel_is_confirmed_and_then_done(page, job):
    question = page.get("run/flowers/cancel").text
    assert 'method="post"' in question
    assert lifecycle.status(job).state.value == "Running"
    (key,) = re.findall(r'name="form" value="(.*?)"', question)
    answer = page.post("run/flowers/cancel", form=key)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{page.root}run/flowers/")
    assert "being cancelled" in lifecycle.status(find_job("flowers")).reason


def test_what_cannot_be_done_is_said_in_the_words_of_the_command(page, add_run):
    add_run("job-a")
    answer = page.post("run/job-a/resume", form=page.settings.keys.form)
    assert answer.status_code in (404, 409)
    assert "job-a" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path", ["run/nobody/", "run/../", "run/job-a/nothing", "nothing", "compare?job=job-a"]
)
def test_what_is_not_there_is_said(page, add_run, path):
    add_run("job-a")
    assert page.get(path).status_code in (404, 409)


def test_filters_take_a_part_of_the_name_and_a_backend(page, add_run):
    for number in range(120):
        add_run(f"job-{number:03}", created_s=float(number), backend="kubernetes" if number % 2 else "local")
    page.get("?q=all-are-read")
    names = re.compile(r'href="\S+/run/(job-\d+)/"')
    assert names.findall(page.get().text)[:2] == ["job-119", "job-118"]
    assert len(names.findall(page.get().text)) == 50
    assert names.findall(page.get("?page=3").text)[-1] == "job-000"
    assert names.findall(page.get("?q=B-01").text) == [f"job-{number:03}" for number in range(19, 9, -1)]
    assert set(names.findall(page.get("?on=local&q=job-00").text)) == {f"job-00{n}" for n in (0, 2, 4, 6, 8)}
    assert "50" in page.get("?page=2").text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_stand_as_text(page, add_run, text):
    add_run(
        "job-a", path=text, command=("submit", text), config=f"Global: {{x: {json.dumps(text)}}}".encode()
    )
    for path in ("", "run/job-a/", "run/job-a/config", "?save=1", "run/job-a/config?save=1"):
        shown = page.get(path).text
        assert "<script>window" not in shown
        assert "<img src=x" not in shown
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", shown)
        assert "49" not in re.findall(r"\{\{.*?\}\}", shown)


def test_a_page_that_is_saved_needs_nothing_and_runs_nothing(page, job):
    for path in ("?save=1", "run/flowers/?save=1", "run/flowers/logs?save=1", "run/flowers/config?save=1"):
        answer = page.get(path)
        assert answer.headers["content-disposition"].startswith('attachment; filename="ftlaunch-')
        assert not re.search(r"<(script|link|form|a) ", answer.text)
        assert "default-src 'none'" in html.unescape(answer.text)
        assert "Running" in answer.text
        for key in (page.settings.keys.token, page.settings.keys.form, page.settings.keys.folder):
            assert key not in answer.text
    assert "[rank 0] two" in page.get("run/flowers/logs?save=1").text


def test_everybodys_jobs_of_a_namespace_are_shown_while_somebody_looks(open_page, job, store, requests):
    page = open_page(namespace="ml")
    assert "flowers" not in page.get("team/").text
    assert requests == []
    events = page.follow("team/stream", lambda events: "flowers" in json.dumps(events))
    assert f"{page.root}run/flowers/" in json.dumps(events)
    store.remove("flowers")  # somebody else's from now on
    events = page.follow("team/stream", lambda events: "team/flowers/" in json.dumps(events))
    events = page.follow("team/flowers/stream", lambda events: "Running" in json.dumps(events))
    assert any("Cancel" in data.get("actions", "") for _, data in events)
    answer = page.post("team/flowers/cancel", form=page.settings.keys.form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{page.root}team/flowers/")
    assert page.get("team/nobody/").status_code == 404
    assert store.names() == []


def test_the_configuration_of_somebody_elses_job_is_read_beside_it_while_somebody_looks(
    open_page, job, store, requests
):
    page = open_page(namespace="ml")
    store.remove("flowers")
    page.follow("team/stream", lambda events: "team/flowers/" in json.dumps(events))
    requests.clear()
    assert "Arch.name" not in page.get("team/flowers/config").text
    assert requests == []
    events = page.follow("team/flowers/stream?tab=config", lambda events: "Arch.name" in json.dumps(events))
    shown = next(data["body"] for _, data in reversed(events) if "body" in data)
    assert re.search(r"nodes × ranks</td><td class=.path.>2 × ", shown)
    assert "Arch.name" in page.get("team/flowers/config?save=1").text


def test_a_configuration_that_the_role_does_not_show_is_said(open_page, job, store, cluster):
    page = open_page(namespace="ml")
    store.remove("flowers")
    page.follow("team/stream", lambda events: "team/flowers/" in json.dumps(events))
    cluster.refuse("get", CONFIG_MAPS, code=403)
    page.follow("team/flowers/stream?tab=config", lambda events: "cannot get" in json.dumps(events))


def test_runs_that_are_compared_are_followed_while_somebody_looks_and_then_no_more(
    page, job, add_run, requests
):
    add_run("older")
    rows = page.settings.fetched / "flowers" / "metrics.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text('{"event": "step", "step": 1, "epoch": 1, "loss": 2.125}\n')

    def grow(events):
        shown = "".join(data.get("curves", "") for _, data in events)
        if "2.125" in shown and rows.read_text().count("\n") == 1:
            with rows.open("a") as file:
                file.write('{"event": "step", "step": 2, "epoch": 1, "loss": 1.375}\n')
        return "1.375" in shown and "Running" in json.dumps(events)

    events = page.follow("compare/stream?job=flowers&job=older", grow)
    assert "Gone" in next(data["states"] for _, data in reversed(events) if "states" in data)
    assert requests
    assert len(page.app.hub) == 0
    assert not any("read_log" in name for name in requests)  # of many runs at once no log is read


def test_without_a_namespace_there_is_no_page_of_one(page):
    assert page.get("team").status_code == 404
    assert "team/" not in page.get().text


def test_a_cluster_that_does_not_answer_is_said(open_page, job, monkeypatch):
    def refuse(**given):
        raise UnreachableError("silence")

    monkeypatch.setattr(team, "list_team", refuse)
    page = open_page(namespace="ml")
    page.follow("team/stream", lambda events: "silence" in json.dumps(events))


def test_a_report_that_lies_elsewhere_is_fetched_only_when_that_is_asked_for(page, job, monkeypatch):
    fetched = []

    def fetch(job, *, to):
        fetched.append(job.name)
        to.mkdir(parents=True)
        (to / "report.html").write_text("<h1>of elsewhere</h1>")
        (to / "metrics.jsonl").write_text('{"event": "step", "step": 1, "loss": 2.5}\n')

    monkeypatch.setattr(app, "fetch_report", fetch)
    assert "run/flowers/fetch" in page.get("run/flowers/report").text
    assert "through a pod" in page.get("run/flowers/fetch").text
    assert fetched == []
    answer = page.post("run/flowers/fetch", form=page.settings.keys.form)
    assert answer.headers["location"].endswith("run/flowers/report")
    assert page.get("run/flowers/report.html").text == "<h1>of elsewhere</h1>"
    assert "sandbox" in page.get("run/flowers/report.html").headers["content-security-policy"]
    assert "2.5" in page.get("run/flowers/?save=1").text
