"""Who is told by webhook, what was told, and what became of telling each of them."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import Account
from accounts.tenancy import OfAccount, SameAccountForeignKey


class EventType(models.TextChoices):
    """What a message tells. Part of the contract with receivers: never rename, never reuse."""

    THRESHOLD_CROSSED = "threshold.crossed"
    ACCOUNT_UPGRADED = "account.upgraded"
    ACCOUNT_PAUSED = "account.paused"
    ACCOUNT_RESUMED = "account.resumed"
    PERIOD_CLOSED = "period.closed"


class Endpoint(models.Model):
    """An address that messages are posted to: of one account or (null) of all, of some types or (empty) of all.

    `secret` signs them, and beside it until `previous_secret_until` the one before: both are needed to sign, so they
    are stored as they are, and shown to nobody again. `silences` counts the attempts in a row that got no answer at
    all; after each the endpoint rests, `rests_until`, so that a dead one does not keep the others waiting.
    """

    account = models.ForeignKey(Account, models.PROTECT, null=True, blank=True, related_name="webhook_endpoints")
    url = models.CharField("URL", max_length=500)
    types = ArrayField(models.CharField(max_length=30, choices=EventType), default=list, blank=True)
    description = models.CharField(max_length=200, blank=True)
    secret = models.CharField(max_length=100)
    previous_secret = models.CharField(max_length=100, blank=True, default="", db_default="")
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_because = models.CharField(max_length=200, blank=True, default="", db_default="")
    silences = models.PositiveIntegerField(default=0, db_default=0)
    rests_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "webhook endpoint"
        constraints: ClassVar = [
            models.CheckConstraint(name="endpoint_is_https", condition=Q(url__startswith="https://")),
            models.CheckConstraint(
                name="endpoint_is_disabled_exactly_when_it_says_since_when",
                condition=Q(enabled=True, disabled_at__isnull=True) | Q(enabled=False, disabled_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.url} ({self.pk})"


class Message(OfAccount):
    """Something that was told, as it was told: `payload` is the very text that is signed and posted.

    Written in the transaction of what it tells, if anybody wants to know; `key` is what it is about, once per account
    and type.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    type = models.CharField(max_length=30, choices=EventType)
    key = models.CharField(max_length=100)
    payload = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "type", "key"], name="message_once_per_thing_to_tell")
        ]

    def __str__(self) -> str:
        return f"{self.type} of account {self.account_id} ({self.pk})"

    @property
    def public_id(self) -> str:
        """What receivers know it by, on every try. The time keeps it from meeting one of a database that was here
        before."""
        return f"msg_{self.pk}_{self.created_at:%Y%m%d%H%M%S%f}"


class DeliveryState(models.TextChoices):
    """`failed`: given up, a person must look. `historical`: of replayed history, never sent."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    HISTORICAL = "historical"


class Delivery(OfAccount):
    """A message on its way to one endpoint.

    `queued_at` is when it was written, or when staff had it sent again: it is tried for three days from then. `tries`
    counts the attempts since then that the endpoint did not accept, `next_try_at` is when the next is due. `status`
    and `answer` (its beginning) are what the endpoint said last, `error` is what went wrong in our words.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    message = SameAccountForeignKey(Message, models.PROTECT, related_name="deliveries", db_index=False)
    endpoint = models.ForeignKey(Endpoint, models.PROTECT, related_name="deliveries")
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.PENDING)
    queued_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    answer = models.TextField(blank=True, default="", db_default="")
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "message", "endpoint"], name="delivery_once_per_message_and_endpoint"
            ),
            models.CheckConstraint(
                name="delivery_is_sent_exactly_when_it_says_so",
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at__isnull=True)),
            ),
        ]
        indexes: ClassVar = [
            # How old the oldest unsent one is, and which were given up.
            models.Index(fields=["queued_at"], name="delivery_pending", condition=Q(state="pending")),
            models.Index(fields=["queued_at"], name="delivery_failed", condition=Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"message {self.message_id} to endpoint {self.endpoint_id} ({self.state}, {self.pk})"
