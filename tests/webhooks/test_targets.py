"""Where a webhook may go: no spelling of a private address, and no other trick, gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.targets import BadTarget, Target, is_public, target_of

REFUSED = {
    "plain HTTP": "http://hooks.example.com/",
    "another scheme": "ftp://hooks.example.com/",
    "a file": "file:///etc/passwd",
    "no scheme": "hooks.example.com/in",
    "scheme in capitals": "HTTPS://hooks.example.com/",
    "empty": "",
    "no host": "https:///in",
    "user name": "https://a@b.example/",
    "user name, HTTP": "http://a@b",
    "empty user name": "https://@hooks.example.com/",
    "password": "https://user:secret@hooks.example.com/",
    "host hidden behind a user name": "https://hooks.example.com:443@127.0.0.1/",
    "backslash": "https://hooks.example.com\\@127.0.0.1/",
    "localhost": "https://localhost/",
    "one label": "https://intranet/",
    "loopback": "https://127.0.0.1/",
    "loopback, short": "https://127.1/",
    "loopback, a number": "https://2130706433/",
    "loopback, hexadecimal": "https://0x7f000001/",
    "loopback, hexadecimal parts": "https://0x7f.0.0.0x1/",
    "loopback, octal": "https://0177.0.0.1/",
    "loopback, trailing dot": "https://127.0.0.1./",
    "loopback, in other digits": "https://１２７.０.０.１/",
    "any address": "https://0.0.0.0/",
    "zero": "https://0/",
    "private 10": "https://10.0.0.5/",
    "private 172": "https://172.16.9.9/",
    "private 192": "https://192.168.1.1:8443/",
    "cloud metadata": "https://169.254.169.254/latest/meta-data/",
    "CGNAT": "https://100.64.0.1/",
    "multicast": "https://224.0.0.1/",
    "multicast, global": "https://233.252.0.1/",
    "reserved": "https://240.0.0.1/",
    "broadcast": "https://255.255.255.255/",
    "documentation": "https://192.0.2.7/",
    "benchmarking": "https://198.18.0.1/",
    "IPv6 loopback": "https://[::1]/",
    "IPv6 any": "https://[::]/",
    "IPv6 link-local": "https://[fe80::1]/",
    "IPv6 link-local with a zone": "https://[fe80::1%25eth0]/",
    "IPv6 unique local": "https://[fd00::1]/",
    "IPv6 site-local": "https://[fec0::1]/",
    "IPv6 multicast": "https://[ff02::1]/",
    "IPv6 documentation": "https://[2001:db8::1]/",
    "IPv4-mapped": "https://[::ffff:169.254.169.254]/",
    "IPv4-mapped, public": "https://[::ffff:8.8.8.8]/",
    "IPv4-compatible": "https://[::127.0.0.1]/",
    "6to4 of a private one": "https://[2002:7f00:1::]/",
    "Teredo": "https://[2001:0:7f00:1::]/",
    "NAT64 of a private one": "https://[64:ff9b::7f00:1]/",
    "bracketed name": "https://[hooks.example.com]/",
    "unclosed bracket": "https://[::1/",
    "port 0": "https://hooks.example.com:0/",
    "port too high": "https://hooks.example.com:65536/",
    "port in words": "https://hooks.example.com:https/",
    "fragment": "https://hooks.example.com/#in",
    "white space": "https://hooks.example.com/a b",
    "line break": "https://hooks.example.com/\r\nX-Header: 1",
    "NUL": "https://hooks.example.com/\0",
    "not ASCII": "https://hööks.example.com/",
    "fraction in a circle": "https://①27.0.0.1/",
    "empty label": "https://hooks..example.com/",
    "label too long": f"https://{'a' * 64}.example.com/",
    "too long": f"https://hooks.example.com/{'a' * 500}",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED)
def test_nothing_goes_there(url: str):
    with pytest.raises(BadTarget):
        target_of(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com", Target("hooks.example.com", 443, "/")),
        ("https://Hooks.Example.COM/in?a=1&b=%20", Target("hooks.example.com", 443, "/in?a=1&b=%20")),
        ("https://hooks.example.com:8443/in", Target("hooks.example.com", 8443, "/in")),
        ("https://xn--hks-snaa.example/", Target("xn--hks-snaa.example", 443, "/")),
        ("https://a_b.example.com/~me", Target("a_b.example.com", 443, "/~me")),
        ("https://8.8.8.8/in", Target("8.8.8.8", 443, "/in")),
        ("https://[2606:4700::1111]/in", Target("2606:4700::1111", 443, "/in")),
    ],
)
def test_these_are_taken_apart(url: str, target: Target):
    assert target_of(url) == target


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_public_only_if_it_is_global_unicast(address):
    private = not address.is_global or address.is_multicast or address.is_reserved or address.is_private

    assert is_public(address) is not private


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_never_public_outside_of_global_unicast(address):
    assert not is_public(address) or int(address) >> 125 == 1


@given(st.text())
def test_any_text_is_a_target_or_is_refused(text: str):
    for url in (text, f"https://{text}", f"https://hooks.example.com/{text}"):
        try:
            target_of(url)
        except BadTarget:
            continue
