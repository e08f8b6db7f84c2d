"""Where a webhook may go: what a URL must look like, and which addresses are nobody's private ones. Pure."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

LONGEST_URL: Final = 500

type Address = IPv4Address | IPv6Address

_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])")
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")


class BadTarget(ValueError):
    """A URL that no webhook goes to; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts. `host` is a name or an address, without brackets; `path` has the query."""

    host: str
    port: int
    path: str


def target_of(url: str) -> Target:
    """The parts of a URL that a webhook may be sent to. Raises `BadTarget`.

    A host is a full name in ASCII, or an address written out in full: other spellings (`127.1`, `0x7f000001`) are
    addresses to some resolvers and names to others.
    """
    if len(url) > LONGEST_URL or not _VISIBLE_ASCII.fullmatch(url) or "\\" in url:
        raise BadTarget(f"A URL has up to {LONGEST_URL} visible ASCII characters; encode others.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadTarget(f"This is no URL: {error}.") from error
    if not url.startswith("https://"):
        raise BadTarget("Webhooks go to https:// only.")
    if "@" in parts.netloc:
        raise BadTarget("A URL with a user name or a password is not accepted.")
    if "#" in url:
        raise BadTarget("A fragment (#) is never sent: leave it out.")
    if port == 0:
        raise BadTarget("There is no port 0.")
    host = parts.hostname or ""
    _check_host(host, bracketed=parts.netloc.startswith("["))
    path = parts.path or "/"
    return Target(host, port or 443, f"{path}?{parts.query}" if parts.query else path)


def _check_host(host: str, *, bracketed: bool) -> None:
    try:
        address = ip_address(host)
    except ValueError:
        if bracketed or not _NAME.fullmatch(host):
            raise BadTarget(
                "The host must be a full name such as hooks.example.com, or an address in its usual form."
            ) from None
        return
    if not is_public(address):
        raise BadTarget("Webhooks never go to private or reserved addresses.")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, and leads nowhere else.

    Not: loopback, private, shared (CGNAT), link-local, multicast, reserved, documentation; nor IPv6 that wraps an
    IPv4 address (mapped, 6to4, Teredo, NAT64).
    """
    if isinstance(address, IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.scope_id or address.sixtofour or address.teredo
    ):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
