"""Accounts, their connections, the keys that speak for them, and the audit trail."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

SLUG_PATTERN = r"^[a-z0-9-]{1,63}$"
CONNECTION_KEY_PATTERN = r"^(?!\.{1,2}$)[A-Za-z0-9._~:-]{1,100}$"  # `.` and `..` vanish from addresses


class User(AbstractUser):
    """A member of staff."""


class AtLimitPolicy(models.TextChoices):
    """What happens at the limit (DESIGN section 5)."""

    BY_REPLAYABILITY = "by_replayability"
    UPGRADE = "upgrade"
    HOLD = "hold"
    PAUSE = "pause"
    LIMIT_NEW = "limit_new"


class Account(models.Model):
    """A customer of the product; the tenant.

    `anchor` is the instant that anniversary periods are counted from; the subscription freezes it. `paused_at` is set
    while staff has paused it, `trial_ended_at` once the end of its trial was told. `erasure_secret` is the key of what
    stands in for erased addresses.
    """

    slug = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    billing_email = models.EmailField(max_length=320, blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    signed_up_at = models.DateTimeField()
    anchor = models.DateTimeField()
    # Null is "as the plan says", which no text can mean.
    at_limit = models.CharField(max_length=20, choices=AtLimitPolicy, null=True, blank=True)  # noqa: DJ001
    auto_upgrade = models.BooleanField(default=True)
    limit_override = models.BigIntegerField(null=True, blank=True)
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    trial_ended_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    pause_reason = models.TextField(blank=True, default="", db_default="")
    closed_at = models.DateTimeField(null=True, blank=True)
    erasure_secret = models.BinaryField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="account_slug_is_plain", condition=Q(slug__regex=SLUG_PATTERN)),
            models.CheckConstraint(
                name="account_limit_override_is_at_least_one",
                condition=Q(limit_override__isnull=True) | Q(limit_override__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class ConnectionKind(models.TextChoices):
    """What a connection does; only `contact_sync` ones have members."""

    CONTACT_SYNC = "contact_sync"
    ENGAGEMENT = "engagement"
    WEB_TRACKING = "web_tracking"
    LEAD_SCORING = "lead_scoring"
    AUTOMATION = "automation"


class Connection(models.Model):
    """One app-to-app link, web tracker, lead-scoring set-up or automation channel of an account. Never deleted.

    `switched_at` holds when it was switched off and on again, oldest first: with `enabled` (now) it answers whether
    the connection was enabled at an instant. Null `replayable` means the default of its kind; null
    `score_expiry_days` means that scores without an expiry live for ever.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="connections")
    key = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=ConnectionKind)
    source_app = models.CharField(max_length=100, blank=True)
    destination_app = models.CharField(max_length=100, blank=True)
    enabled = models.BooleanField(default=True)
    switched_at = ArrayField(models.DateTimeField(), default=list, blank=True)
    record_email_sent = models.BooleanField(default=True)
    replayable = models.BooleanField(null=True, blank=True)
    score_expiry_days = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "key"], name="connection_key_is_unique_in_its_account"),
            models.CheckConstraint(name="connection_key_is_plain", condition=Q(key__regex=CONNECTION_KEY_PATTERN)),
            models.CheckConstraint(
                name="connection_scores_live_a_day_to_a_hundred_years",
                condition=Q(score_expiry_days__isnull=True) | Q(score_expiry_days__range=(1, 36_500)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of account {self.account_id}"


class Scope(models.TextChoices):
    """What a key may do: post events, read usage, or (operator keys only) manage accounts and connections."""

    WRITE = "write"
    READ = "read"
    OPERATE = "operate"


class ApiKey(models.Model):
    """A key for the HTTP API, of one account or (null) an operator's. Only a keyed hash of it is stored.

    `pepper` tells which pepper the hash was made with (`accounts.keys`; empty: the oldest there is). `networks` are
    those it may be used from (empty: any). Its last use and its last refusal, by whatever had its prefix, are noted
    at most once a minute; `refusals` counts the noted ones.
    """

    account = models.ForeignKey(Account, models.PROTECT, null=True, blank=True, related_name="keys")
    name = models.CharField(max_length=200, blank=True)
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.BinaryField(max_length=32)
    pepper = models.CharField(max_length=8, blank=True, default="", db_default="")
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope))
    networks = ArrayField(models.CharField(max_length=43), default=list, blank=True, db_default=[])
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.GenericIPAddressField(null=True, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    refusals = models.BigIntegerField(default=0, db_default=0)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        constraints: ClassVar = [
            models.CheckConstraint(name="key_has_a_scope", condition=Q(scopes__len__gte=1)),
            models.CheckConstraint(
                name="key_of_an_account_cannot_operate",
                condition=Q(account__isnull=True) | ~Q(scopes__contains=["operate"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix} ({'operator' if self.account_id is None else f'account {self.account_id}'})"


class ReadAllowance(models.Model):
    """How far a key has read ahead of its rate: it is even again at `even_at` (`accounts.read_limit`).

    The table is unlogged: a crash empties it, which costs nobody anything. Its key has no constraint in the database,
    so that it can stay a plain local table wherever the keys are.
    """

    key = models.OneToOneField(ApiKey, models.CASCADE, primary_key=True, related_name="+", db_constraint=False)
    even_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"reads of key {self.key_id} even at {self.even_at:%Y-%m-%d %H:%M:%S}"


class AuditEntry(models.Model):
    """Who changed what, when and why. Append-only: the database refuses to change or delete a row."""

    account = models.ForeignKey(Account, models.PROTECT, null=True, blank=True, related_name="audit")
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=60)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit trail"
        indexes: ClassVar = [models.Index(F("account"), F("at").desc(), name="audit_of_account_newest_first")]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor} at {self.at:%Y-%m-%d %H:%M:%S} ({self.pk})"
