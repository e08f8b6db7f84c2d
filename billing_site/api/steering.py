"""`POST accounts/{slug}/pause` and the like: what an operator does to an account, and says why."""

from abc import abstractmethod
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Scope
from billing_site.api import fields
from billing_site.api.endpoint import Endpoint, account_or_404
from metering import steering
from metering.ledgers import subscription_rows
from plans.models import Subscription

MOST_OF_A_REASON = 1_000


class Why(fields.StrictSerializer):
    """The reason of an action, for the audit trail."""

    reason = fields.Text(max_length=MOST_OF_A_REASON)


class UpTo(Why):
    """A tier of the account's plan."""

    tier = fields.Text(max_length=60)


class DownTo(Why):
    """A tier of the account's plan, or of another."""

    tier = fields.Text(max_length=60)
    plan = fields.Text(max_length=60, required=False)


class Action(Endpoint):
    """Something that an operator does to an account. Asking for what already holds changes nothing."""

    scopes: ClassVar = {"POST": Scope.OPERATE}
    form: ClassVar[type[fields.StrictSerializer]] = Why

    def post(self, request: Request, slug: str) -> Response:
        account = account_or_404(slug)
        given = fields.read_fields(request, self.form)
        return Response(self.act(account, given.pop("reason"), **given))

    @abstractmethod
    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        """Do it; how things stand then."""


class Pause(Action):
    """Drop everything until the account is resumed."""

    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        return steering.pause(account, reason=reason, actor=self.actor, now=timezone.now())._asdict()


class Resume(Action):
    """End a pause by staff, and what the period does at its limit."""

    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        return steering.resume(account, reason=reason, actor=self.actor, now=timezone.now())._asdict()


class Upgrade(Action):
    """A higher tier, at once."""

    form = UpTo

    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        row = steering.upgrade(account, given["tier"], reason=reason, actor=self.actor, now=timezone.now())
        return _subscription(row)


class Downgrade(Action):
    """A lower tier or another plan, from the next period on."""

    form = DownTo

    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        tier, plan = given["tier"], given.get("plan")
        row = steering.downgrade(account, tier, plan, reason=reason, actor=self.actor, now=timezone.now())
        return _subscription(row)


class Replay(Action):
    """Count what is held, as far as there is room."""

    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        return steering.replay(account, reason=reason, actor=self.actor, now=timezone.now())._asdict()


class Close(Action):
    """Take nothing more from the end of the period on."""

    def act(self, account: Account, reason: str, **given: Any) -> dict[str, Any]:
        return _subscription(steering.close(account, reason=reason, actor=self.actor, now=timezone.now()))


def _subscription(row: Subscription) -> dict[str, Any]:
    [answer] = subscription_rows(row.account_id, [row], timezone.now())
    return answer
