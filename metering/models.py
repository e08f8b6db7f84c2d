"""What metering stores. Every table that grows with traffic leads its keys with the account (DESIGN section 9)."""

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThanOrEqual

from accounts.models import Account, Connection
from accounts.tenancy import OfAccount, SameAccountForeignKey
from metering.catalogue import ContactUnit, Reason
from notifications.models import Notification
from plans.models import Subscription, TsTzRange


class PeriodState(models.TextChoices):
    """`ended` is in grace: it still takes its own events. `closed` is frozen."""

    OPEN = "open"
    ENDED = "ended"
    CLOSED = "closed"


class EventState(models.IntegerChoices):
    """What a stored event is now."""

    RECORDED = 1, "recorded"
    LATE = 2, "late"
    HELD = 3, "held"
    LIMITED = 4, "limited"
    VOIDED = 5, "voided"
    GIVEN_UP = 6, "given_up"


class LimitState(models.TextChoices):
    """What a period does because its count stands at the limit (DESIGN section 5)."""

    NONE = "", "within its limit"
    HOLDING = "holding"
    LIMITING = "limiting"
    PAUSED = "paused"
    OVER_TOP_TIER = "over_top_tier"


UNITS = [(unit.value, f"{unit.name.lower()}_contacts") for unit in ContactUnit]
"""The units that count contacts, as stored."""


class AccountMeter(models.Model):
    """The one row of an account that everything which moves its counts locks first.

    `clock` is the account's own time while history is imported (null: the wall clock). `holds_live_events` says
    that events were taken in by the wall clock, after which history can no longer be replayed into the account.
    """

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="meter")
    clock = models.DateTimeField(null=True, blank=True)
    holds_live_events = models.BooleanField(default=False, db_default=False)
    contacts_known = models.BigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return f"meter of account {self.account_id}"


class BillingPeriod(OfAccount):
    """A billing period `[starts_at, ends_at)` with its totals in all three units.

    `limit` is the effective limit of the plan's unit, kept up to date until the period ends (null: unlimited).
    `closes_at` is the end of the grace. `breakdown` and `checksum` are written at closing. `limit_state` is what it
    does at its limit, since `limit_state_since`; one that has ended keeps its last.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="periods")
    subscription = models.ForeignKey(Subscription, models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=PeriodState, default=PeriodState.OPEN)
    limit = models.BigIntegerField(null=True, blank=True)
    limit_state = models.CharField(max_length=14, choices=LimitState, blank=True, default="", db_default="")
    limit_state_since = models.DateTimeField(null=True, blank=True)
    app_connector_events = models.BigIntegerField(default=0, db_default=0)
    active_contacts = models.BigIntegerField(default=0, db_default=0)
    activated_contacts = models.BigIntegerField(default=0, db_default=0)
    carried_in = models.BigIntegerField(default=0, db_default=0)
    closed_at = models.DateTimeField(null=True, blank=True)
    checksum = models.CharField(max_length=64, blank=True, default="", db_default="")
    breakdown = models.JSONField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(
                name="period_one_at_a_time",
                expressions=[
                    ("account", RangeOperators.EQUAL),
                    (TsTzRange("starts_at", "ends_at", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(name="period_starts_before_it_ends", condition=Q(starts_at__lt=F("ends_at"))),
            models.CheckConstraint(name="period_closes_after_it_ends", condition=Q(closes_at__gte=F("ends_at"))),
            models.CheckConstraint(
                name="period_counts_are_not_negative",
                condition=Q(app_connector_events__gte=0, activated_contacts__gte=0, carried_in__gte=0),
            ),
            models.CheckConstraint(
                name="period_carries_in_no_more_than_it_counts",
                condition=Q(carried_in__lte=F("active_contacts")),
            ),
            models.CheckConstraint(
                name="period_has_a_limit_state_since_a_time",
                condition=Q(limit_state="", limit_state_since__isnull=True)
                | (~Q(limit_state="") & Q(limit_state_since__isnull=False)),
            ),
            models.CheckConstraint(
                name="period_is_frozen_exactly_when_closed",
                condition=Q(state="closed", closed_at__isnull=False, breakdown__isnull=False)
                | (~Q(state="closed") & Q(closed_at__isnull=True, breakdown__isnull=True)),
            ),
        ]
        indexes: ClassVar = [
            # The newest period of an account, and the one that contains an instant: intake and every read.
            models.Index(F("account"), F("starts_at").desc(), name="period_of_account_newest_first"),
            # What is due (`periods.accounts_with_due_work`).
            models.Index(F("ends_at"), name="period_open_by_end", condition=Q(state="open")),
            models.Index(F("closes_at"), name="period_unclosed_by_closing", condition=~Q(state="closed")),
        ]

    def __str__(self) -> str:
        return f"{self.starts_at:%Y-%m-%d} to {self.ends_at:%Y-%m-%d} of account {self.account_id}"


class GrowingTable(OfAccount):
    """A table that grows with traffic.

    Its account has no index of its own, because every key begins with the account, and no constraint in the
    database: intake writes under the lock on the account's meter row, which has one (docs/decisions/0004).
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)

    class Meta:
        abstract = True


class Contact(GrowingTable):
    """A person of an account under one identity. With `alias_of`, another address of that contact.

    `display` is the first spelling seen; `origin` is where the contact came from, by the first lead captured, at
    `origin_at`. `erased_through` is the contact's last event when it was erased: those up to it no longer make it a
    member or give it a score (`metering.erasure`).
    """

    identity = models.CharField(max_length=320)
    display = models.CharField(max_length=400)
    alias_of = SameAccountForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", db_constraint=False, db_index=False
    )
    origin = models.CharField(max_length=20, blank=True, default="", db_default="")
    origin_at = models.DateTimeField(null=True, blank=True)
    last_engaged_at = models.DateTimeField(null=True, blank=True)
    erased_through = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "identity"], name="contact_one_per_identity"),
        ]
        indexes: ClassVar = [
            # The other addresses of a contact: renaming, and why a contact counts.
            models.Index(fields=["account", "alias_of"], name="contact_aliases", condition=Q(alias_of__isnull=False)),
            # Whose address must be forgotten for good when a period closes.
            models.Index(fields=["account"], name="contact_erased", condition=Q(erased_through__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.display} ({self.pk})"


class Event(GrowingTable):
    """One thing that a connection did. Immutable but for its state and what follows from that.

    `period` is the period that the event counts in (null: none): for a replayed one the period of the replay, for a
    voided one the period that it counted in.
    `received_at` is when it came in, for a held one when it was held. `counted_at` is when a replayed one was counted
    (null: it counts at its own time). `fingerprint` is of the identity as it was sent: with type and instant it tells
    a duplicate from a conflict, also after erasure. Its foreign keys have no
    constraint in the database: docs/decisions/0004.
    """

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    key = models.CharField(max_length=255)
    type = models.SmallIntegerField()
    contact = SameAccountForeignKey(Contact, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    period = SameAccountForeignKey(
        BillingPeriod, models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    state = models.SmallIntegerField(choices=EventState)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    counted_at = models.DateTimeField(null=True, blank=True)
    fingerprint = models.BigIntegerField()
    data = models.JSONField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "connection", "key"], name="event_once_per_account_source_and_id"
            ),
        ]
        indexes: ClassVar = [
            # The events of a contact: renaming, why it counts, what a void leaves. All contacts have an id above 0;
            # the condition keeps the planner from taking this index for a look-up by id, when statistics do not know
            # an account yet, and reading all of its events (docs/decisions/0005).
            models.Index(
                fields=["account", "contact", "occurred_at"],
                name="event_of_contact_by_time",
                condition=Q(contact__gt=0),
            ),
            # Replay, in this order; and the list of what is held.
            models.Index(fields=["account", "occurred_at", "key"], name="event_held", condition=Q(state=3)),
            # How long the oldest has been held, of one account and of all.
            models.Index(fields=["received_at"], name="event_held_since", condition=Q(state=3)),
        ]

    def __str__(self) -> str:
        return f"{self.key} of connection {self.connection_id} ({self.pk})"


class CountedContact(GrowingTable):
    """A contact that counts in a period, in one unit, with every reason and the first cause.

    Three arrays run in parallel, one place per connection that gives a reason: which connection, the reasons that
    its events gave, and those that were carried in with its state at the start of the period. The first cause is
    the smallest (time, source, id) of the events, on the local day `first_on` (of a replayed one: the day of the
    replay); it is null while the contact is only carried in. `scored_at` is when the youngest of the carried-in scores
    was set (null: there is none, or one has an expiry of its own): from then on a shorter expiry would have run.
    """

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    unit = models.SmallIntegerField(choices=UNITS)
    contact = SameAccountForeignKey(Contact, models.PROTECT, related_name="+", db_index=False)
    reasons = models.IntegerField()
    carried_in = models.BooleanField()
    connections = ArrayField(models.BigIntegerField())
    event_reasons = ArrayField(models.IntegerField())
    carried_reasons = ArrayField(models.IntegerField())
    first_at = models.DateTimeField(null=True)
    first_source = models.CharField(max_length=100, blank=True, default="", db_default="")
    first_key = models.CharField(max_length=255, blank=True, default="", db_default="")
    first_type = models.SmallIntegerField(null=True)
    first_on = models.DateField(null=True)
    scored_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period", "unit", "contact"], name="counted_once_per_period_and_unit"
            ),
            models.CheckConstraint(name="counted_for_a_reason", condition=Q(reasons__gt=0)),
            models.CheckConstraint(
                name="counted_first_on_a_day",
                condition=Q(first_at__isnull=True, first_on__isnull=True)
                | Q(first_at__isnull=False, first_on__isnull=False),
            ),
            models.CheckConstraint(
                name="counted_reasons_are_per_connection",
                condition=Q(connections__len__gte=1)
                & Q(connections__len=F("event_reasons__len"))
                & Q(connections__len=F("carried_reasons__len")),
            ),
        ]
        indexes: ClassVar = [
            # Whom a carried-in score alone makes count: what if scores expired sooner.
            models.Index(
                fields=["account", "period", "scored_at"],
                name="counted_by_a_score_alone",
                condition=Q(unit=ContactUnit.ACTIVE.value, reasons=Reason.LEAD_SCORE.value, first_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"contact {self.contact_id} in period {self.period_id}, unit {self.unit}"


class StateByEventTime(GrowingTable):
    """A state of a contact on a connection that follows the time of events, not their arrival.

    Keeps the last transition of all, and beside it the last one before the start of the newest period if the last
    of all is not that one, so that an old event that comes after a newer one still corrects the carry-in.
    """

    contact = SameAccountForeignKey(Contact, models.PROTECT, related_name="+", db_index=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    holds = models.BooleanField()
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=255)
    prior_holds = models.BooleanField(null=True)
    prior_changed_at = models.DateTimeField(null=True)
    prior_changed_by = models.CharField(max_length=255, blank=True, default="", db_default="")

    class Meta:
        abstract = True


class SyncMember(StateByEventTime):
    """Whether a contact is part of a contact sync. `refused_since`: the destination refuses it since then."""

    refused_since = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "contact", "connection"], name="member_once_per_contact_and_connection"
            )
        ]
        indexes: ClassVar = [
            # Who is refused: the list of counted contacts.
            models.Index(
                fields=["account", "contact"], name="member_refused", condition=Q(refused_since__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"contact {self.contact_id} on connection {self.connection_id}"


class LeadScore(StateByEventTime):
    """A contact's lead score from a connection. Lives until `expires_at`, or by the connection's setting."""

    value = models.FloatField(default=0)
    expires_at = models.DateTimeField(null=True)
    prior_expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "contact", "connection"], name="score_once_per_contact_and_connection"
            )
        ]

    def __str__(self) -> str:
        return f"score of contact {self.contact_id} from connection {self.connection_id}"


class ThresholdCrossing(GrowingTable):
    """A period's count reached a percentage of its limit: once per period, limit and percentage.

    A higher limit arms both thresholds again. `used` is the count that crossed, `notification` the mail that tells it.
    """

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    limit = models.BigIntegerField()
    percent = models.SmallIntegerField()
    used = models.BigIntegerField()
    crossed_at = models.DateTimeField()
    notification = models.ForeignKey(
        Notification, models.PROTECT, null=True, blank=True, related_name="+", db_constraint=False, db_index=False
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period", "limit", "percent"], name="crossed_once_per_period_limit_and_percent"
            ),
            models.CheckConstraint(
                name="crossed_where_it_says",
                condition=Q(percent__gt=0) & Q(GreaterThanOrEqual(F("used") * 100, F("limit") * F("percent"))),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.limit} in period {self.period_id}"


class CauseOutcome(models.TextChoices):
    """What came of a cause to upgrade. `fitted`: the count was within the limit again when the task looked;
    `withdrawn`: the account was not to be upgraded any more."""

    PENDING = "pending"
    UPGRADED = "upgraded"
    FITTED = "fitted"
    WITHDRAWN = "withdrawn"
    OVER_TOP_TIER = "over_top_tier"


class UpgradeCause(GrowingTable):
    """A count that exceeded its limit under a policy of upgrading: once per period and limit, handled by a task.

    `connections` lists every enabled connection of that moment: key, name, and whether it is replayable.
    """

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    limit = models.BigIntegerField()
    used = models.BigIntegerField()
    crossed_at = models.DateTimeField()
    connections = models.JSONField()
    outcome = models.CharField(max_length=14, choices=CauseOutcome, default=CauseOutcome.PENDING)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period", "limit"], name="upgrade_caused_once_per_period_and_limit"
            ),
            models.CheckConstraint(name="upgrade_caused_above_the_limit", condition=Q(used__gt=F("limit"))),
        ]

    def __str__(self) -> str:
        return f"{self.used} of {self.limit} in period {self.period_id} ({self.outcome})"


class GapReason(models.TextChoices):
    """Why data was lost."""

    LIMIT_REACHED = "limit_reached"
    PAUSED_BY_STAFF = "paused_by_staff"
    TRIAL_ENDED = "trial_ended"
    GIVEN_UP = "given_up"
    ERASED = "erased"


class Gap(GrowingTable):
    """Data of one connection and type that was dropped in a time range `[starts_at, ends_at)`; a null end: still is.

    The range is that of the pause, the same for all gaps of one pause. `events` counts distinct ids, `attempts`
    deliveries. What is in a gap never comes back.
    """

    reason = models.CharField(max_length=16, choices=GapReason)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    type = models.SmallIntegerField()
    events = models.BigIntegerField(default=0, db_default=0)
    attempts = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "reason", "starts_at", "connection", "type"],
                name="gap_once_per_pause_connection_and_type",
            ),
            models.CheckConstraint(name="gap_counts_each_event_once", condition=Q(attempts__gte=F("events"))),
        ]

    def __str__(self) -> str:
        return f"{self.events} of type {self.type} of connection {self.connection_id} lost from {self.starts_at}"


class DroppedEvent(GrowingTable):
    """The id of an event that was dropped into a gap: what makes a gap count it once. Forgotten some time after the
    gap has ended."""

    gap = SameAccountForeignKey(Gap, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    key = models.CharField(max_length=255)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "gap", "key"], name="dropped_once_per_gap_and_id")
        ]

    def __str__(self) -> str:
        return f"{self.key} of gap {self.gap_id}"


class EventVoid(GrowingTable):
    """An event was taken back: when, by whom and why. It counts nowhere any more."""

    event = SameAccountForeignKey(Event, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    reason = models.TextField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "event"], name="event_voided_once"),
        ]

    def __str__(self) -> str:
        return f"event {self.event_id} by {self.actor}"


class EventTally(GrowingTable):
    """Billable events of a period by connection and type: the breakdown of the event unit."""

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    type = models.SmallIntegerField()
    events = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period", "connection", "type"], name="event_tally_once_per_kind"
            )
        ]

    def __str__(self) -> str:
        return f"{self.events} of type {self.type} in period {self.period_id}"


class ReasonSetTally(GrowingTable):
    """How many counted contacts of a period have exactly this set of reasons."""

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    unit = models.SmallIntegerField(choices=UNITS)
    reasons = models.IntegerField()
    contacts = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period", "unit", "reasons"], name="reason_set_tally_once_per_set"
            )
        ]

    def __str__(self) -> str:
        return f"{self.contacts} with reasons {self.reasons} in period {self.period_id}"


class ConnectionTally(GrowingTable):
    """How many counted contacts of a period have a reason on this connection, and how many of them only there."""

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    unit = models.SmallIntegerField(choices=UNITS)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    contacts = models.BigIntegerField()
    only_here = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period", "unit", "connection"],
                name="connection_tally_once_per_connection",
            )
        ]

    def __str__(self) -> str:
        return f"{self.contacts} on connection {self.connection_id} in period {self.period_id}"


class ConnectionDay(GrowingTable):
    """Recorded events of a connection by local day (the account's zone when they came) and type."""

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    type = models.SmallIntegerField()
    events = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "connection", "day", "type"], name="connection_day_once_per_type"
            )
        ]

    def __str__(self) -> str:
        return f"{self.events} of type {self.type} on {self.day} on connection {self.connection_id}"


EVENT_UNIT = 0
"""The event unit as stored, beside the units that count contacts."""


class CountedDay(GrowingTable):
    """What a local day added to a period's count in a unit: the days of a period sum to what is new in it.

    Contacts stand on the day of their first cause, if they were not carried in; billable events on their own day, or
    that of their replay. Days are those of the account's zone when they came.
    """

    period = SameAccountForeignKey(BillingPeriod, models.PROTECT, related_name="+", db_index=False)
    unit = models.SmallIntegerField(choices=[(EVENT_UNIT, "app_connector_events"), *UNITS])
    day = models.DateField()
    counted = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "period", "unit", "day"], name="counted_day_once_per_unit"),
        ]
        indexes: ClassVar = [
            # Days asked for across periods: `metering.daily`.
            models.Index(fields=["account", "day"], name="counted_day_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.counted} of unit {self.unit} on {self.day} in period {self.period_id}"


class OutcomeTally(GrowingTable):
    """Deliveries by outcome, under the start of the period that was current when they came in."""

    period_starts_at = models.DateTimeField()
    outcome = models.CharField(max_length=10)
    deliveries = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "period_starts_at", "outcome"], name="outcome_tally_once_per_outcome"
            )
        ]

    def __str__(self) -> str:
        return f"{self.deliveries} {self.outcome} of account {self.account_id}"


class QuarantinedEvent(models.Model):
    """A rejected event, kept for 30 days so that staff can see, fix and send it again.

    Bounded (10,000 per account), hence no part of the tables that grow with traffic. The account is null when the
    event named none that exists. `source` and `key` are empty when they could not be read.
    """

    account = models.ForeignKey(Account, models.PROTECT, null=True, blank=True, related_name="+")
    fingerprint = models.BinaryField(max_length=32)
    body = models.BinaryField()
    source = models.CharField(max_length=255, blank=True)
    key = models.CharField(max_length=255, blank=True)
    code = models.CharField(max_length=40)
    field = models.CharField(max_length=100, blank=True)
    detail = models.TextField()
    times_seen = models.BigIntegerField(default=1, db_default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "fingerprint"],
                name="quarantined_once_per_account_and_body",
                nulls_distinct=False,
            )
        ]
        indexes: ClassVar = [
            # Which quarantined events a recorded one resolves: intake.
            models.Index(
                fields=["account", "source", "key"],
                name="quarantine_unresolved",
                condition=Q(resolved_at__isnull=True),
            ),
            # The oldest beyond the bound: intake and the daily clean-up.
            models.Index(fields=["account", "last_seen_at"], name="quarantine_by_age"),
            # What is older than 30 days: `quarantine.forget_old`, every minute.
            models.Index(fields=["last_seen_at"], name="quarantine_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.field} ({self.pk})"
