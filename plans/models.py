"""Plans, their tiers, and which account is on which tier when."""

from typing import ClassVar, Self

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import (
    DateTimeRangeField,
    RangeBoundary,
    RangeOperators,
)
from django.db import models
from django.db.models import Exists, Func, OuterRef, Q

from accounts.models import Account, AtLimitPolicy

# A period must be closed before the one after it ends; February is the shortest month. See docs/decisions.
MAX_GRACE_HOURS = 27 * 24


class Unit(models.TextChoices):
    """What a plan charges by (DESIGN section 2)."""

    APP_CONNECTOR_EVENTS = "app_connector_events"
    ACTIVE_CONTACTS = "active_contacts"
    ACTIVATED_CONTACTS = "activated_contacts"


class PeriodRule(models.TextChoices):
    """Where billing periods begin (DESIGN section 6)."""

    ANNIVERSARY = "anniversary"
    CALENDAR_MONTH = "calendar_month"


class TsTzRange(Func):
    """A half-open range made of two timestamp columns."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class PlanQuerySet(models.QuerySet["Plan"]):
    """Plans."""

    def published(self) -> Self:
        """Those that accounts may be on."""
        return self.filter(published_at__isnull=False)


class Plan(models.Model):
    """Unit, period rule, at-limit policy and grace (hours in which an ended period still takes its own events).

    A draft until it is published; from then on the database lets nothing change but the name (decision 23).
    """

    key = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=100)
    unit = models.CharField(max_length=24, choices=Unit)
    period_rule = models.CharField(max_length=20, choices=PeriodRule)
    at_limit = models.CharField(max_length=20, choices=AtLimitPolicy)
    grace_hours = models.PositiveIntegerField(default=24)
    published_at = models.DateTimeField(null=True, blank=True)

    objects = PlanQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="plan_grace_is_shorter_than_a_month", condition=Q(grace_hours__lte=MAX_GRACE_HOURS)
            ),
            # Events are not contacts: there are no new and known ones to tell apart.
            models.CheckConstraint(
                name="plan_of_events_does_not_limit_new",
                condition=~Q(unit="app_connector_events", at_limit="limit_new"),
            ),
        ]

    def __str__(self) -> str:
        return self.key


class TierQuerySet(models.QuerySet["Tier"]):
    """Tiers in all their versions."""

    def newest(self) -> Self:
        """Of each tier the version that was published last: what new subscriptions and upgrades take."""
        later = Tier.objects.filter(
            plan=OuterRef("plan"), key=OuterRef("key"), version__gt=OuterRef("version"), published_at__isnull=False
        )
        return self.filter(~Exists(later), published_at__isnull=False)


class Tier(models.Model):
    """A version of a step of a plan. A null limit is unlimited; the price is per period, in EUR.

    A draft until it is published; from then on the database lets nothing change, and the tier changes by a further
    version under the same key. Subscriptions keep the version that they began with (decision 23).
    """

    plan = models.ForeignKey(Plan, models.PROTECT, related_name="tiers")
    key = models.CharField(max_length=60)
    version = models.PositiveIntegerField(default=1, db_default=1)
    limit = models.BigIntegerField(null=True, blank=True)
    price = models.DecimalField(max_digits=12, decimal_places=2)
    trial = models.BooleanField(default=False)
    published_at = models.DateTimeField(null=True, blank=True)

    objects = TierQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["plan", "key", "version"], name="tier_versions_are_numbered"),
            models.UniqueConstraint(
                fields=["plan", "key"], condition=Q(published_at__isnull=True), name="tier_has_one_draft"
            ),
            models.CheckConstraint(name="tier_versions_count_from_one", condition=Q(version__gte=1)),
            models.CheckConstraint(name="tier_price_is_not_negative", condition=Q(price__gte=0)),
            models.CheckConstraint(
                name="tier_limit_is_at_least_one", condition=Q(limit__isnull=True) | Q(limit__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} version {self.version} ({self.pk})"


class Subscription(models.Model):
    """An account on a tier for the half-open time range `[starts_at, ends_at)`; a null end is not known yet.

    The rule, anchor and zone that its billing periods follow are frozen here: a later change of the account's zone
    moves days on pages, never the bounds of a period.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="subscriptions")
    tier = models.ForeignKey(Tier, models.PROTECT, related_name="subscriptions")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    period_rule = models.CharField(max_length=20, choices=PeriodRule)
    anchor = models.DateTimeField()
    timezone = models.CharField(max_length=64)
    reason = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(
                name="subscription_one_at_a_time",
                expressions=[
                    ("account", RangeOperators.EQUAL),
                    (TsTzRange("starts_at", "ends_at", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(
                name="subscription_starts_before_it_ends",
                condition=Q(ends_at__isnull=True) | Q(starts_at__lt=models.F("ends_at")),
            ),
        ]

    def __str__(self) -> str:
        return f"account {self.account_id} on tier {self.tier_id} from {self.starts_at:%Y-%m-%d} ({self.pk})"
