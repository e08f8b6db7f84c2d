"""Reads settings from the environment and refuses nonsense.

A refusal is an ImproperlyConfigured with one sentence that names the variable.
"""

import os
import re
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()

SWITCH_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
MAIL_PORTS = {"smtp": 25, "smtps": 587, "smtp+tls": 587, "smtp+ssl": 465}
MAIL_SECONDS = 10  # a mail server that says nothing for longer counts as down


def text(name: str, default: str = "") -> str:
    """The variable without white space at its ends; set to nothing is the same as not set.

    Not by `env.str`: that takes a value that begins with "$", as a secret may, for another variable's name.
    """
    return os.environ.get(name, "").strip() or default


def refuse(name: str, why: str) -> ImproperlyConfigured:
    """The error to raise: `NAME=value: why`. For variables that hold no secret."""
    return ImproperlyConfigured(f"{name}={text(name)!s}: {why}")


def switch(name: str, *, default: bool = False) -> bool:
    """Yes or no. A word that is neither is refused, for a typing error must not switch off what protects."""
    word = text(name)
    if not word:
        return default
    if word.lower() not in SWITCH_WORDS:
        raise refuse(name, "say true or false.")
    return SWITCH_WORDS[word.lower()]


def whole_number(name: str, default: int, *, most: int = 999_999_999) -> int:
    """A whole number from 0 to `most`."""
    word = text(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise refuse(name, "say a whole number, 0 or greater.")
    if int(word) > most:
        raise refuse(name, f"say at most {most:,}.")
    return int(word)


def secret(name: str, *, development_value: str | None) -> str:
    """A secret. It has a default where one is given, which is on a developer's machine only."""
    value = text(name, development_value or "")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: set it, or DEBUG=true on a developer's machine.")
    return value


def old_secrets(name: str, present: str) -> list[str]:
    """Secrets that the present one has replaced, the newest first, separated by white space."""
    values = text(name).split()
    if present in values:
        raise ImproperlyConfigured(f"{name} holds the present one too: it is for those before it.")
    if len(set(values)) < len(values):
        raise ImproperlyConfigured(f"{name} holds one of them twice.")
    return values


def host_names(name: str, default: list[str]) -> list[str]:
    """Comma-separated hosts, without scheme or port. Nothing is refused: nobody would be answered."""
    if name not in os.environ:
        return default
    hosts = [host.strip() for host in text(name).split(",") if host.strip()]
    if not hosts:
        raise refuse(name, "name at least one host, or leave it out.")
    for host in hosts:
        if not re.fullmatch(r"\*|\.?[\w.-]+|\[[0-9a-fA-F:.]+\]", host):
            raise refuse(name, f"{host!r} is no host: leave out scheme, port and path.")
    return hosts


def web_address(name: str, default: str) -> str:
    """The address of a site, such as https://billing.example.com (a slash at its end is dropped)."""
    value = text(name, default).rstrip("/")
    if not _is_web_address(value):
        raise refuse(name, "say an address that begins with https:// or http:// and names a host.")
    return value


def origins(name: str) -> list[str]:
    """Comma-separated origins (scheme, host, perhaps a port), as a Content-Security-Policy lists them."""
    values = [value.strip().rstrip("/") for value in text(name).split(",") if value.strip()]
    for value in values:
        if not _is_web_address(value) or urlsplit(value).path or re.search(r"[\s;'\"]", value):
            raise refuse(name, f"{value!r} is no origin: say something like https://app.example.com.")
    return values


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - reading it refuses a port that is no number
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query and not parts.fragment


def request_header(name: str) -> str | None:
    """A header's name as Django's request.META spells it, or None."""
    value = text(name)
    if not value:
        return None
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value):
        raise refuse(name, "say the name of a header, such as X-Forwarded-Proto.")
    return "HTTP_" + value.upper().replace("-", "_")


def database(name: str) -> dict[str, Any] | None:
    """The entry for DATABASES, or None without the variable. The value, with its password, is never shown."""
    value = text(name)
    if not value:
        return None
    if not value.startswith(("postgres://", "postgresql://")):
        scheme = value.partition(":")[0][:20] if "://" in value else "no scheme"
        raise ImproperlyConfigured(
            f"{name} has {scheme}: PostgreSQL is the one database, say postgresql://user@host/name."
        )
    try:
        parsed: dict[str, Any] = env.db_url_config(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} cannot be read: say postgresql://user:password@host:port/name.") from error
    if not parsed["NAME"]:
        raise ImproperlyConfigured(f"{name} names no database: say postgresql://user@host/name.")
    return parsed


def mailers(name: str, default: str) -> dict[str, dict[str, Any]]:
    """Django's MAILERS from one address (smtp+tls://user:password@mail.example.com), which is never shown."""
    value = text(name, default)
    try:
        parsed = env.email_url_config(value)
    except (ValueError, ImproperlyConfigured) as error:
        known = ", ".join(sorted(env.EMAIL_SCHEMES))
        raise ImproperlyConfigured(
            f"{name} cannot be read: it is an address with one of the schemes {known}."
        ) from error
    scheme = urlsplit(value).scheme
    if scheme == "filemail":
        return {
            "default": {
                "BACKEND": parsed["EMAIL_BACKEND"],
                "OPTIONS": {"file_path": parsed["EMAIL_FILE_PATH"]},
            }
        }
    if scheme not in MAIL_PORTS:
        return {"default": {"BACKEND": parsed["EMAIL_BACKEND"]}}
    if not parsed["EMAIL_HOST"]:
        raise ImproperlyConfigured(f"{name} names no mail server: say smtp+tls://user:password@mail.example.com.")
    options = {
        "host": parsed["EMAIL_HOST"],
        "port": parsed["EMAIL_PORT"] or MAIL_PORTS[scheme],
        "username": parsed["EMAIL_HOST_USER"] or "",
        "password": parsed["EMAIL_HOST_PASSWORD"] or "",
        "use_tls": parsed.get("EMAIL_USE_TLS", False),
        "use_ssl": parsed.get("EMAIL_USE_SSL", False),
        "timeout": MAIL_SECONDS,
    }
    return {"default": {"BACKEND": parsed["EMAIL_BACKEND"], "OPTIONS": options}}
