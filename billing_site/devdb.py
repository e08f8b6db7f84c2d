"""The embedded PostgreSQL of a DATA_DIR: the database when DATABASE_URL is not set.

It starts when a connection needs it, serves every process of this checkout, and stays up until
`manage.py devdb stop`. Any process of its user may connect without a password: it is for development and
trying out, not for production.
"""

from pathlib import Path
from typing import Any

from billing_site.embedded_postgresql import server
from billing_site.embedded_postgresql.places import DevdbError, place_of

__all__ = ["DevdbError", "database", "reset", "start", "status", "stop", "url"]


def database(data_dir: Path) -> dict[str, Any]:
    """The entry for DATABASES. Starts nothing: our backend does, at the first connection."""
    return {
        "ENGINE": "billing_site.embedded_postgresql",
        "NAME": server.DATABASE,
        "USER": server.USER,
        "HOST": str(place_of(data_dir).socket_dir),
        "DATA_DIR": str(data_dir),
        "OPTIONS": {},
    }


def start(data_dir: Path) -> None:
    """Have the server running. DevdbError if that is impossible."""
    server.start(place_of(data_dir))


def stop(data_dir: Path) -> bool:
    """Stop the server; False if it did not run."""
    return server.stop(place_of(data_dir))


def reset(data_dir: Path) -> None:
    """Stop the server and remove all its data."""
    server.erase(place_of(data_dir))


def url(data_dir: Path) -> str:
    """The address as psql and DATABASE_URL understand it, whether or not the server runs."""
    return f"postgresql://{server.USER}@/{server.DATABASE}?host={place_of(data_dir).socket_dir}"


def status(data_dir: Path) -> str | None:
    """One line about the running server, or None if it does not run."""
    place = place_of(data_dir)
    running = server.running_version(place)
    if running is None:
        return None
    pid, version = running
    return f"PostgreSQL {version}, process {pid}, files in {place.cluster}"
