"""Put the sample accounts into the database: their histories are replayed through the real intake."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import batched
from typing import cast

import msgspec

from accounts.models import Account
from billing_site.demo.samples import SAMPLES, Sample
from billing_site.demo.story import events_of
from metering import envelope, history
from metering.models import AccountMeter, Event
from metering.registration import put_account, put_connection
from plans.calendar import PeriodRule, period_containing, start_of_local_day
from plans.models import Plan, Unit
from plans.subscriptions import bounds, in_force, subscriptions_of

ACTOR = "demo"
PERIOD_BEGAN = timedelta(days=17)  # before now, on anniversary plans
TRIAL_LEFT = timedelta(days=12)
BATCH = 5_000


def load_all(now: Callable[[], datetime], say: Callable[[str], object]) -> None:
    """Make the sample accounts that are missing, and finish those that were interrupted; touch no other."""
    for sample in SAMPLES:
        account = Account.objects.filter(slug=sample.slug).first() or _create(sample, now())
        if not _is_loaded(sample, account):
            say(f"{account.name} …")
            _load(sample, account, now)


def _is_loaded(sample: Sample, account: Account) -> bool:
    clock = AccountMeter.objects.get(account=account).clock
    has_all = not sample.months or Event.objects.filter(account_id=account.pk).exists()
    return clock is None and has_all and account.connections.count() >= len(sample.links)


def _create(sample: Sample, now: datetime) -> Account:
    rule = cast(PeriodRule, Plan.objects.get(key=sample.plan).period_rule)
    anchor = start_of_local_day(now - PERIOD_BEGAN, sample.timezone)
    began, _ = period_containing(rule, anchor, now, sample.timezone)
    for _ in sample.months[1:]:
        began, _ = period_containing(rule, anchor, began - timedelta(microseconds=1), sample.timezone)
    fields = {
        "name": sample.name,
        "billing_email": f"billing@{sample.slug}.example",
        "timezone": sample.timezone,
        "plan": sample.plan,
        "tier": sample.tier,
        "signed_up_at": sample.signed_up_at or began,
        "anchor": anchor,
        **({"trial_ends_at": now + TRIAL_LEFT} if sample.tier == "trial" else {}),
        **sample.settings,
    }
    account, _ = put_account(sample.slug, fields, actor=ACTOR, now=now)
    return account


def _load(sample: Sample, account: Account, now: Callable[[], datetime]) -> None:
    for link in sample.links:
        names = ("name", "kind", "source_app", "destination_app")
        put_connection(account, link.key, {name: getattr(link, name) for name in names}, actor=ACTOR, now=now())
    if not sample.months:
        return
    unit = Unit(Plan.objects.get(key=sample.plan).unit)
    history.take_clock(account, now())
    for events in events_of(sample, unit, _periods(sample, account)):
        for batch in batched(events, BATCH):
            items = envelope.read(msgspec.json.encode(batch), single=False)
            history.replay(account, items, now())
    history.release_clock(account, now())


def _periods(sample: Sample, account: Account) -> list[tuple[datetime, datetime]]:
    """The account's latest billing periods, as many as the sample has; the last goes up to when the account was made.

    By that, and not by now, the same story can be told again after an interruption.
    """
    account.refresh_from_db(fields=["created_at"])
    subscriptions = subscriptions_of(account.pk)
    at, periods = account.created_at, []
    for _ in sample.months:
        start, end = bounds(in_force(subscriptions, at), at)
        periods.append((start, min(end, account.created_at)))
        at = start - timedelta(microseconds=1)
    return periods[::-1]
