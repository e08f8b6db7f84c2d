"""The ledgers of an account: subscriptions, mails, gaps, what is held; and the plans it could be on."""

from typing import ClassVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from billing_site.api.endpoint import Endpoint
from billing_site.api.pages import PAGE_PARAMETERS, Pages
from metering import ledgers
from metering.usage import clock_of, ensure_current


class _Ledger(Endpoint):
    """A list that an account may read."""

    scopes: ClassVar = {"GET": Scope.READ}
    parameters: ClassVar = {"GET": ["account", *PAGE_PARAMETERS]}


class Subscriptions(_Ledger):
    """Which tier from when to when, the newest first, also what is to begin."""

    def get(self, request: Request) -> Response:
        account, now = self.account_asked_about(), timezone.now()
        # A downgrade may lapse as its period opens; until then nobody knows.
        ensure_current(account, clock_of(account, now))
        pages = Pages(f"subscriptions of {account.pk}", "-starts_at")
        page = pages.of(ledgers.subscriptions(account), self)
        return pages.answer(ledgers.subscription_rows(account.pk, page, now))


class Plans(_Ledger):
    """The plans there are, the same for every account."""

    def get(self, request: Request) -> Response:
        self.account_asked_about()
        pages = Pages("plans", "key")
        return pages.answer([ledgers.plan_row(plan) for plan in pages.of(ledgers.plans(), self)])


class Notifications(_Ledger):
    """The mails to an account, the newest first."""

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        pages = Pages(f"notifications of {account.pk}", "-created_at", "-pk")
        page = pages.of(ledgers.notifications(account), self)
        return pages.answer([ledgers.notification_row(mail) for mail in page])


class Gaps(_Ledger):
    """What was lost, the newest first."""

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        pages = Pages(f"gaps of {account.pk}", "-starts_at", "-pk")
        return pages.answer([ledgers.gap_row(gap) for gap in pages.of(ledgers.gaps(account), self)])


class Held(_Ledger):
    """What is held, in the order in which it will be replayed."""

    def get(self, request: Request) -> Response:
        account = self.account_asked_about()
        pages = Pages(f"held of {account.pk}", *ledgers.ORDER_OF_REPLAY)
        return pages.answer([ledgers.held_row(event) for event in pages.of(ledgers.held(account), self)])
