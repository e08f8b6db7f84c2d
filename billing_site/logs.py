"""How log lines look: readable for a developer, else a JSON object each; never with a person's address."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import override

# An address in a path may be encoded; the subject of /usage/contacts/… may also be a channel's user id, which may hold
# anything, so all to the end of the line goes.
ADDRESS = re.compile(r"(?:\"[^\"\n]*\"|[^\s/?&=\"'<>(),;:]+)(?:@|%40)[^\s/?&=\"'<>(),;:]+", re.IGNORECASE)
KEY = re.compile(r"hc_live_[A-Za-z0-9]+_\w+|whsec_[A-Za-z0-9+/=_-]+")  # of the API, and secrets of webhooks
SUBJECT = re.compile(r"(/contacts/).+")


def without_addresses(line: str) -> str:
    """The line with every address, contact and key replaced by `…`."""
    return SUBJECT.sub(r"\1…", ADDRESS.sub("…", KEY.sub("…", line)))


class Readable(logging.Formatter):
    """For a person at a terminal."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return without_addresses(super().format(record))


class JsonLines(logging.Formatter):
    """For a machine: `time` (UTC), `level`, `logger`, `message`; `status` and `error` where there are any."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_addresses(record.getMessage()),
        }
        if status := getattr(record, "status_code", None):
            line["status"] = status
        if record.exc_info:
            line["error"] = without_addresses(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)
