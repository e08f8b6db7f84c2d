"""Take in events: the file to read first. One transaction per account and batch: load, decide, write.

    envelope (bytes → events or refusals) → resolve (connection, type) → state (load) → decide (pure) → record (write)
    → reactions (thresholds, upgrade, pause, mail)

`take_in` splits a batch by account and answers in the order of the batch. Every effect is a function of what is
stored and what arrives, under the lock on the account's meter row; sending anything again is safe.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import msgspec
from django.db import transaction

from accounts.models import Account
from metering import limits, sql
from metering.decide import Clock, decide, judge_all
from metering.envelope import Event, Refusal
from metering.facts import AccountState, Arrival, PeriodFacts, Verdict
from metering.lock import locked
from metering.periods import closed_unopened, effective_limit, open_current, open_for, recent_periods
from metering.quarantine import quarantine, resolve_quarantined
from metering.reactions import react
from metering.record import record
from metering.rename import independent_of_renames, rename_all
from metering.resolve import refuse, resolve
from metering.state import account_facts, connections_of, erasure_secret, load_contacts, load_known, own_pause
from metering.upgrades import tier_in_sight
from metering.upkeep import settle_history
from plans.models import Subscription
from plans.subscriptions import bounds, in_force, subscriptions_of

STORED = ("recorded", "late", "held", "limited")
"""The outcomes that keep the event, and with it its id."""


class ItemOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one item. `id` is None if it could not be read."""

    index: int
    id: str | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """Where an account stands in its current period after a batch. `crossed`: thresholds the batch crossed;
    `upgrade`: the tier that it will be moved to, if an upgrade is under way."""

    unit: str
    used: int
    limit: int | None
    crossed: list[int]
    state: str
    upgrade: str | None = None


@dataclass(slots=True)
class Receipt:
    """The answer to a batch: an outcome for every item, in order, and the usage of the accounts it named."""

    items: list[ItemOutcome] = field(default_factory=list)
    usage: dict[str, UsageSummary] = field(default_factory=dict)

    def outcomes(self) -> dict[str, int]:
        """How many items had each outcome."""
        return dict(Counter(item.verdict.outcome for item in self.items))


def take_in(
    items: Sequence[Event | Refusal], *, sender: Account | None, now: datetime, dry_run: bool = False
) -> Receipt:
    """Take in a batch for the account of the sender's key, or (None: an operator) for the accounts it names.

    One transaction per account, in the order of their ids. Raises `AccountBusy`; accounts before that one are
    committed then, and sending the whole batch again is right. A dry run answers the same and writes nothing.
    """
    receipt = Receipt()
    by_account, unattributed = _by_account(items, sender)
    if unattributed:
        if not dry_run:
            with transaction.atomic():
                quarantine(None, unattributed, now)
        receipt.items.extend(_rejections(unattributed))
    for account, own in sorted(by_account, key=lambda pair: pair[0].pk):
        outcomes, usage = take_in_for(account, own, now=now, dry_run=dry_run)
        receipt.items.extend(outcomes)
        receipt.usage[account.slug] = usage
    receipt.items.sort(key=lambda item: item.index)
    return receipt


def _by_account(
    items: Sequence[Event | Refusal], sender: Account | None
) -> tuple[list[tuple[Account, list[Event | Refusal]]], list[Refusal]]:
    """Group items by the account they belong to; what names none that the sender may write to is refused."""
    if sender is not None:
        return [(sender, [_of_sender(item, sender) for item in items])] if items else [], []
    slugs = {item.account for item in items}
    accounts = {account.slug: account for account in Account.objects.filter(slug__in=slugs - {None})}
    if len(accounts) == len(slugs) == 1:
        return [(account, list(items)) for account in accounts.values()], []
    groups: dict[str, list[Event | Refusal]] = {}
    unattributed: list[Refusal] = []
    for item in items:
        if item.account in accounts:
            groups.setdefault(item.account, []).append(item)
        elif isinstance(item, Refusal):
            unattributed.append(item)
        elif item.account is None:
            detail = "an operator key must name the account of each event"
            unattributed.append(refuse(item, "missing_attribute", "account", detail))
        else:
            unattributed.append(refuse(item, "unknown_account", "account", f"no account {item.account}"))
    return [(accounts[slug], own) for slug, own in groups.items()], unattributed


def _of_sender(item: Event | Refusal, sender: Account) -> Event | Refusal:
    if isinstance(item, Event) and item.account is not None and item.account != sender.slug:
        return refuse(item, "unknown_account", "account", f"no account {item.account}")
    return item


def _rejections(refusals: Iterable[Refusal]) -> list[ItemOutcome]:
    return [
        ItemOutcome(row.index, row.id, Verdict("rejected", row.code, row.field or "", row.detail)) for row in refusals
    ]


def take_in_for(
    account: Account, items: Sequence[Event | Refusal], *, now: datetime, dry_run: bool = False
) -> tuple[list[ItemOutcome], UsageSummary]:
    """Take in the items of one account, in one transaction under its lock. Raises `AccountBusy`."""
    with locked(account.pk) as meter:
        account = Account.objects.get(pk=account.pk)
        subscriptions = subscriptions_of(account.pk)
        clock = Clock(meter.clock or now)
        before = open_current(account, subscriptions, clock.reading)
        used_before = 0 if before is None else getattr(before, before.subscription.tier.plan.unit)
        outcomes = take_in_locked(account, subscriptions, items, clock, live=meter.clock is None)
        after = summary(account, subscriptions, clock.reading, used_before=used_before)
        if dry_run:
            transaction.set_rollback(True)
    return outcomes, after


def take_in_locked(
    account: Account,
    subscriptions: list[Subscription],
    items: Sequence[Event | Refusal],
    clock: Clock,
    *,
    live: bool,
) -> list[ItemOutcome]:
    """Take in the items of an account whose lock the caller holds. `live`: they come by the wall clock."""
    refusals = [item for item in items if isinstance(item, Refusal)]
    events = [item for item in items if isinstance(item, Event)]
    connections = connections_of(account.pk, {event.source for event in events})
    arrivals, unresolved = resolve(events, connections)
    refusals += unresolved
    answers = _Answers(items=_rejections(refusals))
    _decide_and_record(account, subscriptions, arrivals, clock, answers, live=live)
    by_index = {event.index: event for event in events} if answers.rejected else {}
    refusals += [
        refuse(by_index[index], verdict.code, verdict.field, verdict.detail) for index, verdict in answers.rejected
    ]
    reading = clock.after_all(arrivals).reading
    _tally(account, subscriptions, answers.items, reading)
    quarantine(account.pk, refusals, reading)
    resolve_quarantined(account.pk, answers.stored, refusals, reading)
    return answers.items


@dataclass(slots=True)
class _Answers:
    """What became of the items so far: in no order, the arrivals that were stored, and those rejected by index."""

    items: list[ItemOutcome]
    stored: list[Arrival] = field(default_factory=list)
    rejected: list[tuple[int, Verdict]] = field(default_factory=list)

    def add(self, arrivals: Sequence[Arrival], verdicts: Sequence[Verdict]) -> None:
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            self.items.append(ItemOutcome(arrival.index, arrival.key, verdict))
            if verdict.outcome == "rejected":
                self.rejected.append((arrival.index, verdict))
            elif verdict.outcome in STORED:
                self.stored.append(arrival)


def _decide_and_record(
    account: Account,
    subscriptions: list[Subscription],
    arrivals: Sequence[Arrival],
    clock: Clock,
    answers: _Answers,
    *,
    live: bool,
) -> None:
    """Load, decide and write. Part by part: a part ends where a rename changes who an address means, and where a
    period opens, which carries in what the events before it have left."""
    rest = arrivals
    while rest:
        part = rest[: independent_of_renames(account.pk, rest)]
        facts = account_facts(account, in_force(subscriptions, clock.reading), clock.reading)
        state = load_known(facts, part, erasure_secret(account))
        judged = judge_all(state, part, clock)
        part = part[: _open_periods(account, subscriptions, state, part, judged, clock.reading)]
        if None in judged:
            load_contacts(state, part)
        decision = decide(state, part, judged[: len(part)], clock)
        part = part[: len(decision.verdicts)]  # cut where a threshold is crossed, or history upgraded
        rest = rest[len(part) :]
        clock = clock.after_all(part)
        record(
            account.pk,
            decision,
            live=live,
            meanwhile=partial(answers.add, part, decision.verdicts),
        )
        react(account, decision)
        if (decision.causes or decision.moves or decision.held_in_grace) and not live:
            settle_history(account, clock.reading)
            account.refresh_from_db()
            subscriptions = subscriptions_of(account.pk)
        rename_all(
            account.pk,
            [(row.arrival.renamed_from, row.arrival.identity) for row in decision.events if row.arrival.renamed_from],
        )


def _open_periods(
    account: Account,
    subscriptions: list[Subscription],
    state: AccountState,
    part: Sequence[Arrival],
    judged: Sequence[Verdict | None],
    now: datetime,
) -> int:
    """Load the periods of what is to be stored, opening at most the first; how much of the part can be decided."""
    state.periods = recent_periods(account, subscriptions, now, len(part))
    times = [arrival.time for arrival, verdict in zip(part, judged, strict=True) if verdict is None]
    newest = state.newest
    if not times or (newest is not None and newest.starts_at <= min(times) and max(times) < newest.ends_at):
        return len(part)  # as nearly always
    stores = False
    period: PeriodFacts | None = None
    for place, (arrival, verdict) in enumerate(zip(part, judged, strict=True)):
        if verdict is not None:
            continue
        if period is None or not period.starts_at <= arrival.time < period.ends_at:
            period = state.period_at(arrival.time)
        if period is None:
            period = closed_unopened(account, subscriptions, arrival.time, now)
            if period is not None:
                state.periods = sorted([*state.periods, period], key=lambda row: row.starts_at)
            elif stores:
                return place
            else:
                open_for(account, subscriptions, arrival.time, now)
                state.periods = recent_periods(account, subscriptions, now, len(part))
                period = state.period_at(arrival.time)
        stores = True
    return len(part)


def _tally(account: Account, subscriptions: list[Subscription], outcomes: Sequence[ItemOutcome], at: datetime) -> None:
    """Add deliveries by outcome to the period that is current, whether it is opened or not."""
    counts = sorted(Counter(item.verdict.outcome for item in outcomes).items())
    if not counts:
        return
    start, _ = bounds(in_force(subscriptions, at), at)
    sql.run(
        """INSERT INTO metering_outcometally AS tally (account_id, period_starts_at, outcome, deliveries)
           SELECT %s::bigint,
                  coalesce((SELECT starts_at FROM metering_billingperiod
                            WHERE account_id = %s AND starts_at <= %s AND ends_at > %s), %s),
                  new.*
           FROM unnest(%s::text[], %s::bigint[]) AS new
           ON CONFLICT (account_id, period_starts_at, outcome)
           DO UPDATE SET deliveries = tally.deliveries + excluded.deliveries""",
        (account.pk, account.pk, at, at, start, [outcome for outcome, _ in counts], [number for _, number in counts]),
    )


def summary(account: Account, subscriptions: list[Subscription], at: datetime, *, used_before: int = 0) -> UsageSummary:
    """Where an account stands in the period that contains an instant, which is opened; nothing used if it has none."""
    period = open_current(account, subscriptions, at)
    subscription = in_force(subscriptions, at)
    paused = own_pause(account, subscription, at) is not None
    unit, limit = subscription.tier.plan.unit, effective_limit(account, subscription)
    if period is None:
        return UsageSummary(unit, 0, limit, [], limits.standing(0, limit, paused=paused))
    unit, limit = period.subscription.tier.plan.unit, period.limit
    used: int = getattr(period, unit)
    return UsageSummary(
        unit,
        used,
        limit,
        limits.newly_crossed(used_before, used, limit),
        limits.standing(used, limit, limit_state=period.limit_state, paused=paused),
        tier_in_sight(account, period),
    )
