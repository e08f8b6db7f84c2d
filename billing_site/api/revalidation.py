"""Answers that a client may keep and ask about: 304 while they are still the same (RFC 9110, 13)."""

from functools import partial

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import get_conditional_response, set_response_etag
from rest_framework.response import Response

from billing_site.api.problems import Problem, plain

_OF_THE_BODY = ("Content-Type", "Content-Length")


def revalidate(request: HttpRequest, answer: Response) -> None:
    """Give a good answer its ETag when its bytes are known, and send none of them to whoever has them already."""
    if answer.status_code == 200:
        answer.headers["Cache-Control"] = "private, no-cache"
        answer.add_post_render_callback(partial(_conditional, request))


def _conditional(request: HttpRequest, answer: Response) -> HttpResponseBase:
    set_response_etag(answer)
    chosen: HttpResponseBase = get_conditional_response(request, answer.headers["ETag"], response=answer) or answer
    if chosen.status_code == 412:
        chosen = plain(
            Problem(412, "precondition_failed", "The answer is not what If-Match or If-Unmodified-Since asks for.")
        )
    for name, value in answer.headers.items():
        if name not in _OF_THE_BODY:
            chosen.headers.setdefault(name, value)
    return chosen
