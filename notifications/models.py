"""The outbox: every mail that was, will or will not be sent."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from accounts.tenancy import OfAccount


class Kind(models.TextChoices):
    """What a notification tells. `threshold` is the mail at 80 % or 100 %; `over_top_tier` goes to staff."""

    THRESHOLD = "threshold"
    UPGRADED = "upgraded"
    PAUSED = "paused"
    HELD = "held"
    GIVING_UP_SOON = "giving_up_soon"
    RESUMED = "resumed"
    TRIAL_ENDED = "trial_ended"
    DOWNGRADE_LAPSED = "downgrade_lapsed"
    OVER_TOP_TIER = "over_top_tier"
    OPTED_OUT = "opted_out"


class Audience(models.TextChoices):
    """Whose mailbox: the account's main e-mail, or `SUPPORT_EMAIL`."""

    CUSTOMER = "customer"
    STAFF = "staff"


class NotificationState(models.TextChoices):
    """`failed`: refused for good, a person must look. `historical`: of replayed history, never sent."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    HISTORICAL = "historical"


class Notification(OfAccount):
    """A mail, written in the transaction of what it tells and sent by a task.

    `key` is what it is about, once per account, kind and audience. `facts` (`notifications.facts.Facts`) are the
    numbers of that moment: what is sent later still tells them. `tries` counts conversations with the mail server that
    ended without success, `error` holds the last one's words, `next_try_at` is when the next one is due.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="notifications")
    kind = models.CharField(max_length=20, choices=Kind)
    audience = models.CharField(max_length=10, choices=Audience, default=Audience.CUSTOMER)
    key = models.CharField(max_length=100)
    period_start = models.DateTimeField(null=True, blank=True)
    limit = models.BigIntegerField(null=True, blank=True)
    percent = models.PositiveSmallIntegerField(null=True, blank=True)
    facts = models.JSONField()
    created_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=NotificationState, default=NotificationState.PENDING)
    tries = models.PositiveIntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    sent_to = models.CharField(max_length=320, blank=True, default="", db_default="")
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "kind", "audience", "key"], name="notification_once_per_thing_to_tell"
            ),
            models.CheckConstraint(
                name="notification_is_sent_exactly_when_it_says_so",
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at__isnull=True)),
            ),
        ]
        indexes: ClassVar = [
            models.Index(F("account"), F("created_at").desc(), name="notification_newest_first"),
            # How old the oldest unsent one is, and which were refused.
            models.Index(fields=["created_at"], name="notification_pending", condition=Q(state="pending")),
            models.Index(fields=["created_at"], name="notification_failed", condition=Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.audience} of account {self.account_id} ({self.state}, {self.pk})"
