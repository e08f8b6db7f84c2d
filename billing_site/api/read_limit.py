"""Reads by the keys of accounts, limited to `READ_RATE` a second. Events are not, nor are an operator's keys."""

from typing import Any, override

from django.conf import settings
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.models import ApiKey
from accounts.read_limit import WINDOW, take_read
from billing_site.api.problems import Problem

_SECONDS = int(WINDOW.total_seconds())


class ReadLimit(BaseThrottle):
    """Whether a key may read now; says in the headers of the answer, whatever it is, how many more reads it may do.

    They are written as in draft-ietf-httpapi-ratelimit-headers-11, in whole seconds: the next read is free sooner.
    Raises `Problem`: 429 `too_many_requests`.
    """

    @override
    def allow_request(self, request: Request, view: Any) -> bool:
        key: ApiKey = request.auth  # type: ignore[assignment]  # as KeyAuthentication made it
        rate: int = settings.READ_RATE
        if not rate or key.account_id is None or request.method not in ("GET", "HEAD"):
            return True
        left = take_read(key.pk, rate, timezone.now())
        view.headers |= {
            "RateLimit-Policy": f'"reads";q={rate};w={_SECONDS}',
            "RateLimit": f'"reads";r={left or 0};t={_SECONDS}',
        }
        if left is None:
            detail = f"This key may read {rate} times a second; go on after the seconds of the header Retry-After."
            raise Problem(429, "too_many_requests", detail, headers={"Retry-After": str(_SECONDS)})
        return True
