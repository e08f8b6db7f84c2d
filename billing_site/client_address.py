"""From which address a request comes."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> IPv4Address | IPv6Address | None:
    """Who is connected to us, or, behind a proxy (`PROXY_ADDRESS_HEADER`), to the proxy; None if that is no address.

    Of several addresses in the header the last one counts: the proxy wrote it, those before it anybody may have.
    """
    written = request.META.get(settings.PROXY_ADDRESS_HEADER or "REMOTE_ADDR", "")
    try:
        found = ip_address(written.rpartition(",")[2].strip())
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        return IPv6Address(int(found))  # without its zone, which only this machine knows
    return found
