"""Every address that Headcount answers."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from billing_site import health
from billing_site.api import problems

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", health.measured),
    path("admin/", admin.site.urls),
    path("usage/", include("billing_site.usage.urls")),
    path("api/v1/", include("billing_site.api.urls")),
    re_path(r"^api(?:/|$)", csrf_exempt(problems.no_such_path)),
]

handler400 = problems.bad_request
handler404 = problems.no_such_path
handler500 = problems.server_error
