"""Who may read the page: host, origin, token, and a cookie that no other port is sent."""

from __future__ import annotations

import pytest

from tests.launcher.ui.conftest import Client


@pytest.fixture
def stranger(page):
    """Somebody who has not opened the address."""
    return Client(page.asgi)


def test_the_address_is_exchanged_for_a_cookie_that_scripts_and_other_sites_never_see(page, stranger):
    answer = stranger.open(page.settings.keys.token)
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert page.settings.keys.token not in cookie
    assert stranger.get(page.root).status_code == 200


def test_the_cookie_goes_to_a_folder_that_a_page_on_another_port_does_not_know(page, stranger):
    cookie = stranger.get(f"/?token={page.settings.keys.token}").headers["set-cookie"]
    assert f"Path={page.root}" in cookie
    assert len(page.settings.keys.folder) == 16


def test_two_pages_in_one_browser_have_cookies_of_their_own(page):
    other = Client(page.asgi, "127.0.0.1:9000")
    other.open(page.settings.keys.token)
    assert other.cookie.startswith("ftlaunch-9000=")
    assert page.client.cookie.startswith("ftlaunch-8421=")


@pytest.mark.parametrize("token", ["", "?token=", "?token=wrong", "?token=%00", "?other=1"])
def test_without_the_token_nothing_is_handed_out(stranger, token):
    answer = stranger.get(f"/{token}")
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize("path", ["", "run/a/", "stream", "ui.css", "run/a/report.html", "nothing"])
def test_without_the_cookie_every_path_is_refused(page, stranger, path):
    answer = stranger.get(page.root + path)
    assert answer.status_code == 403
    assert answer.text.startswith("expected a browser")


def test_a_cookie_of_another_start_is_refused(page, stranger):
    assert stranger.get(page.root, headers={"cookie": "ftlaunch-8421=old"}).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", "127.0.0.1:8421@evil.example",
     "127.0.0.2", "10.0.0.1:8421", "", "localhost.evil.example", "127.0.0.1:8421\n"],
)  # fmt: skip
def test_a_name_that_leads_here_is_no_host_of_ours(page, host):
    assert page.get(headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8421", "localhost:8421", "[::1]:8421", "LOCALHOST:8421"])
def test_a_tunnel_may_call_this_machine_by_any_of_its_own_names(page, host):
    assert Client(page.asgi, host).open(page.settings.keys.token).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:8421"},
        {"origin": "http://127.0.0.1:9999"},  # another user's server on this machine
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},  # what a browser calls another port
    ],
    ids=str,
)
def test_requests_of_other_pages_are_refused(page, headers):
    assert page.get(headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {}])
def test_requests_of_the_page_and_typed_addresses_pass(page, headers):
    assert page.get(headers=headers).status_code == 200


def test_a_change_needs_an_origin_and_the_key_of_a_form(page, add_run):
    add_run("job-a")
    path = f"{page.root}run/job-a/cancel"
    key = page.settings.keys.form
    assert page.client.post(path, form=key).status_code == 403
    assert page.post("run/job-a/cancel").status_code == 403
    assert page.post("run/job-a/cancel", form="x" * len(key)).status_code == 403
    assert page.post("run/job-a/cancel", form="x" * 10_000).status_code == 403


def test_every_answer_forbids_what_the_page_does_not_need(page):
    for answer in (page.get(), page.get("ui.js"), page.get("nothing"), page.client.get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
