"""The one place where the Content-Security-Policy is weaker: the admin."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.csp import csp_override


def allow_eval_in_admin(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware, inside that of the policy: unfold's Alpine evaluates the expressions in its attributes."""
    in_admin = csp_override(settings.ADMIN_CSP)(get_response)
    prefix = reverse("admin:index")

    def respond(request: HttpRequest) -> HttpResponseBase:
        answer = in_admin if request.path.startswith(prefix) else get_response
        return answer(request)

    return respond
