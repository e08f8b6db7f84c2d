"""The list of accounts, and the page of one: how it stands, and the pages that steer it."""

from datetime import timedelta
from typing import Any, Final, override

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from accounts import usage_link
from accounts.admin import AccountAdmin
from accounts.models import Account
from metering import account_summary, steering_pages
from metering.standing import standing_of

admin.site.unregister(Account)

A_LOOK: Final = timedelta(minutes=30)
"""How long staff's link to a customer's pages lasts."""


@admin.register(Account)
class SteeredAccountAdmin(AccountAdmin):
    """Accounts, with how each stands and what can be done to it."""

    change_form_outer_before_template = "metering/account_summary.html"

    @override
    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<int:account_id>/steer/<slug:step>/", self.admin_site.admin_view(self.steer), name="accounts_account_steer"
        )
        window = path("<int:account_id>/usage/", self.admin_site.admin_view(self.usage), name="accounts_account_usage")
        return [page, window, *super().get_urls()]

    @override
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        account = self.get_object(request, unquote(object_id)) if self.has_view_permission(request) else None
        about = {}
        if account is not None:
            standing = standing_of(account, timezone.now())
            about = account_summary.context(standing, may_steer=_may_steer(request))
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **about})
        return page

    def steer(self, request: HttpRequest, account_id: int, step: str) -> HttpResponse:
        """The page of one step, if this user may take it."""
        if not _may_steer(request):
            raise PermissionDenied
        account = self.get_object(request, str(account_id))
        if account is None or step not in steering_pages.STEPS:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(account_id))  # type: ignore[no-any-return]
        return steering_pages.steer(
            request,
            account,
            steering_pages.STEPS[step],
            now=timezone.now(),
            back=reverse("admin:accounts_account_change", args=[account.pk]),
            context={**self.admin_site.each_context(request), "opts": self.opts},
        )

    def usage(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """To the usage as the customer sees it, by a link that is made now and lasts no longer than a look."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        account = self.get_object(request, str(account_id))
        if account is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(account_id))  # type: ignore[no-any-return]
        link = usage_link.make(account.slug, now=timezone.now(), lasts=A_LOOK, people=True)
        return HttpResponseRedirect(link.path)


def _may_steer(request: HttpRequest) -> bool:
    """Asked for by the pages that steer; the account's own page stays read-only for everybody."""
    return request.user.has_perm("accounts.change_account")
