"""Requests as we understand them: addresses and forms are UTF-8, whatever charset a Content-Type claims."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import BadRequest
from django.core.handlers.wsgi import WSGIRequest


class Utf8Request(WSGIRequest):
    """A request that no Content-Type breaks.

    Django takes any codec of Python's for a charset and fails on those that are none for text (`charset=hex`). It
    does so in the constructor, before anything could answer, which makes it the server's bare 500.
    """

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]  # the stubs leave it out
        except (BadRequest, ValueError):
            self.content_type, self.content_params = "", {}

    @property
    def encoding(self) -> str | None:
        """None: the default, UTF-8."""
        return None

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        """Nothing: what a client claims does not change how we read."""
