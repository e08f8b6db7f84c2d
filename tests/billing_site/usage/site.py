"""A real site with lifelike accounts, and what its API says: for tests that look at it with a browser."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.billing_site.programs import ROOT, environment

LONG = "wide"
"""The account whose names are as long as names may be, and without a limit."""

SAMPLES = (
    "tulip-notebooks",
    "quarry-tools",
    "ateliers-lumiere",
    "kestrel-analytics",
    "papaya-yoga",
    "clinica-mirador",
    "orchard-press",
)


class Site(NamedTuple):
    """Where it is, the operator's key, and what opens the pages of each account."""

    address: str
    key: str
    tokens: dict[str, str]

    def page(self, slug: str, path: str = "", **query: str) -> str:
        """The whole address of a page of an account; `from` is `from_`."""
        asked = {name.rstrip("_"): value for name, value in query.items()}
        return f"{self.address}usage/{path}?{urlencode({**asked, 'token': self.tokens[slug]})}"

    def api(self, slug: str, path: str, **query: str) -> Any:
        """What the API says of an account."""
        asked = {name.rstrip("_"): value for name, value in query.items()}
        url = f"{self.address}api/v1/{path}?{urlencode({**asked, 'account': slug})}"
        with urlopen(Request(url, headers={"Authorization": f"Bearer {self.key}"})) as answer:  # noqa: S310 - our own
            return json.load(answer)


@contextmanager
def running(*slugs: str) -> Iterator[Site]:
    """The site runs meanwhile, on a database of its own with these samples and the account of long names."""
    words = [sys.executable, "-m", "tests.billing_site.usage.filling", *slugs]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as filling:
        try:
            assert filling.stdout
            made = json.loads(filling.stdout.readline())
            with _serving(made["database_url"]) as address:
                yield Site(address, made["key"], made["tokens"])
        finally:
            filling.communicate()  # its input ends


@contextmanager
def _serving(database_url: str) -> Iterator[str]:
    """The site runs meanwhile, on the database at this address; where it is."""
    words = [sys.executable, "manage.py", "serve", "--port", "0", "--workers", "1", "--no-worker"]
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment(DATABASE_URL=database_url, LOG_LEVEL="ERROR"),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if line.startswith("Headcount is at "))
            yield line.removeprefix("Headcount is at ").split()[0]
        finally:
            process.terminate()
            process.communicate()
