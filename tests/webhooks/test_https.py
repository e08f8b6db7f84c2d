"""One request to an address that was looked at: over real TLS, to a real server, with every trick on its side."""

import ssl
from collections.abc import Iterator
from threading import Event
from threading import enumerate as enumerate_threads
from time import monotonic
from typing import Any

import pytest

from tests.webhooks.receiver import (
    Receiver,
    Script,
    drips,
    endless,
    everything_is_allowed,
    hangs_up,
    says,
    silent,
    speaks_in_tongues,
)
from webhooks.https import MOST_READ, THREAD, Answer, Net, NoAnswer, post


def ask(server: Receiver, url: str = "", **changes: Any) -> Answer:
    """Post something to the receiver."""
    return post(url or server.url, b'{"a": 1}', {"webhook-id": "msg_1"}, server.net(**changes))


def test_it_is_posted_with_its_headers_to_the_path_and_host_of_the_url(server: Receiver):
    assert ask(server, f"{server.url}?key=a%20b") == Answer(204, "")

    [heard] = server.heard
    assert (heard.path, heard.body) == ("/in?key=a%20b", b'{"a": 1}')
    assert heard.headers["host"] == f"hooks.example:{server.port}"
    assert heard.headers["webhook-id"] == "msg_1"
    assert heard.headers["content-length"] == "8"


def test_the_name_of_the_url_is_asked_for_in_the_handshake(server: Receiver):
    ask(server, f"https://other.example:{server.port}/")

    assert server.heard[0].asked_for == "other.example"


def test_a_certificate_of_another_name_is_not_accepted(server: Receiver):
    with pytest.raises(NoAnswer, match="Hostname mismatch"):
        ask(server, f"https://third.example:{server.port}/")

    assert server.heard == []


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(server: Receiver):
    with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
        ask(server, trust=ssl.create_default_context)

    assert server.heard == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - nobody listens there
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%lo",
        "fd12::1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_by_default_a_name_that_leads_to_a_private_address_is_never_connected_to(server: Receiver, address: str):
    with pytest.raises(NoAnswer, match="private or reserved address"):
        post(server.url, b"", {}, Net(resolve=lambda host, port: [address]))

    assert server.connections == 0


def test_by_default_no_url_of_this_machine_is_connected_to(server: Receiver):
    for host in ("127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises(NoAnswer):
            post(f"https://{host}:{server.port}/", b"", {})

    assert server.connections == 0


class Rebinding:
    """A resolver that gives one answer the first time, and another afterwards."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers.pop(0)


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(server: Receiver):
    resolver = Rebinding(["127.0.0.1"], ["127.0.0.2"])

    assert ask(server, resolve=resolver).status == 204

    assert resolver.asked == 1
    assert server.heard[0].called == "127.0.0.1"


def test_a_name_with_a_private_address_among_others_is_refused(server: Receiver):
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.2"):
        ask(server, resolve=lambda host, port: ["127.0.0.1", "127.0.0.2"])

    assert server.connections == 0


def test_an_address_that_cannot_be_reached_leaves_the_next_one(server: Receiver):
    def addresses(host: str, port: int) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]  # nobody listens at the first

    assert ask(server, resolve=addresses, is_allowed=everything_is_allowed).status == 204


def test_a_redirect_is_an_answer_and_nothing_is_asked_there(server: Receiver):
    server.script(says(302, Location=f"https://127.0.0.1:{server.port}/secret"))

    assert ask(server).status == 302

    assert [heard.path for heard in server.heard] == ["/in"]


@pytest.mark.parametrize("status", [200, 202, 301, 400, 404, 410, 429, 500, 503, 599])
def test_every_status_is_an_answer(server: Receiver, status: int):
    server.script(says(status, b"because"))

    assert ask(server) == Answer(status, "because" if status >= 300 else "")


def test_what_it_says_is_cut_and_made_plain(server: Receiver):
    server.script(says(500, b"\0 no \xff\r\n\r\n way " + b"x" * 1000))

    excerpt = ask(server).excerpt

    assert excerpt.startswith("no � way xxx")
    assert len(excerpt) == 500


def test_of_a_body_without_an_end_64_kib_are_read(server: Receiver):
    server.script(endless(500))

    assert ask(server).status == 500

    # What lies between is in the buffers of both ends.
    assert MOST_READ <= server.written < 100 * MOST_READ


def test_a_success_is_one_however_long_it_goes_on(server: Receiver):
    server.script(endless(200))

    assert ask(server) == Answer(200, "")


def test_a_status_holds_though_its_body_comes_too_slowly(server: Receiver):
    server.script(endless(410, b"x", every=0.02))

    assert ask(server, seconds=0.5).status == 410


@pytest.mark.parametrize("script", [silent, drips])
def test_who_takes_too_long_has_not_answered(server: Receiver, script: Script):
    server.script(script)
    began = monotonic()

    with pytest.raises(NoAnswer, match=r"no answer within 0\.5 seconds"):
        ask(server, seconds=0.5)

    assert monotonic() - began < 3


def test_a_resolver_that_takes_too_long_counts_too(server: Receiver):
    over = Event()

    def slow(host: str, port: int) -> list[str]:
        over.wait(30)
        return ["127.0.0.1"]

    try:
        with pytest.raises(NoAnswer, match=r"no answer within 0\.2 seconds"):
            ask(server, resolve=slow, seconds=0.2)
    finally:
        over.set()


def test_nothing_is_asked_of_anybody_when_the_time_is_over(server: Receiver):
    over = Event()

    def slow(host: str, port: int) -> Iterator[str]:
        over.wait(30)
        yield "127.0.0.1"

    with pytest.raises(NoAnswer):
        ask(server, resolve=slow, seconds=0.2)
    over.set()
    for thread in enumerate_threads():
        if thread.name == THREAD:
            thread.join(5)

    assert server.connections == 0


@pytest.mark.parametrize("script", [hangs_up, speaks_in_tongues])
def test_what_is_no_answer_in_http_is_none(server: Receiver, script: Script):
    server.script(script)

    with pytest.raises(NoAnswer):
        ask(server)


def test_a_port_where_nobody_listens_gives_no_answer(server: Receiver):
    with pytest.raises(NoAnswer, match="refused"):
        ask(server, "https://hooks.example:1/")


def test_a_name_that_nobody_knows_gives_no_answer():
    with pytest.raises(NoAnswer):
        post("https://no-such-host.invalid/", b"", {})
