"""Accounts and their connections, as the operator pushes them: idempotent puts that never undo an upgrade."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.audit import write_audit
from accounts.models import Account, Connection
from accounts.refusals import Refused
from metering.facts import Pause
from metering.limit_changes import reconsider, refresh_limit
from metering.lock import locked
from metering.models import AccountMeter, LimitState
from metering.notices import facts_of, tell
from metering.periods import current_period, end_trial_gaps, period_at
from metering.reactions import tell_if_running
from metering.state import own_pause
from metering.upkeep import do_due_work
from notifications.models import Kind
from plans.calendar import local_day, start_of_local_day
from plans.catalogue import tier_for
from plans.models import Subscription, Tier
from plans.subscriptions import in_force, subscriptions_of

SETTINGS = (
    "name",
    "billing_email",
    "timezone",
    "at_limit",
    "auto_upgrade",
    "limit_override",
    "trial_ends_at",
)
CONNECTION_SETTINGS = (
    "name",
    "source_app",
    "destination_app",
    "enabled",
    "record_email_sent",
    "replayable",
    "score_expiry_days",
)


def put_account(
    slug: str, fields: Mapping[str, Any], *, actor: str, now: datetime, reason: str = ""
) -> tuple[Account, bool]:
    """Create an account, or change the settings that are given; whether it was created.

    `plan`, `tier`, `anchor` and `signed_up_at` may be repeated for an account that exists, not changed: raises
    `Refused` (`use_upgrade_or_downgrade`, `fixed`), also `unknown_plan` and `unknown_tier`.
    """
    created = False
    account = Account.objects.filter(slug=slug).first()
    if account is None:
        account, created = _create_account(slug, fields, actor=actor, now=now)
    if not created:
        account = _change_account(account.pk, fields, actor=actor, now=now, reason=reason)
    return account, created


@transaction.atomic
def _create_account(slug: str, fields: Mapping[str, Any], *, actor: str, now: datetime) -> tuple[Account, bool]:
    zone = fields.get("timezone", "UTC")
    signed_up_at: datetime = fields.get("signed_up_at") or start_of_local_day(now, zone)
    anchor: datetime = fields.get("anchor") or signed_up_at
    tier = tier_for(fields.get("plan"), fields.get("tier"), local_day(signed_up_at, zone))
    settings = {name: fields[name] for name in SETTINGS if name in fields}
    account, created = Account.objects.get_or_create(
        slug=slug, defaults={"name": slug, **settings, "signed_up_at": signed_up_at, "anchor": anchor}
    )
    if not created:
        return account, False  # somebody else was faster
    AccountMeter.objects.create(account=account)
    Subscription.objects.create(
        account=account,
        tier=tier,
        starts_at=signed_up_at,
        period_rule=tier.plan.period_rule,
        anchor=anchor,
        timezone=account.timezone,
        reason="sign-up",
    )
    after = {
        **settings,
        "signed_up_at": signed_up_at,
        "anchor": anchor,
        "plan": tier.plan.key,
        "tier": tier.key,
    }
    write_audit(account, "account.created", actor=actor, at=now, before={}, after=after)
    return account, True


def _change_account(
    account_id: int, fields: Mapping[str, Any], *, actor: str, now: datetime, reason: str = ""
) -> Account:
    with locked(account_id) as meter:
        account = Account.objects.get(pk=account_id)
        clock = meter.clock or now
        _check_fixed(account, fields, clock)
        do_due_work(account, clock)  # a period that has ended keeps the limit of its last moment
        before = {name: getattr(account, name) for name in SETTINGS if name in fields}
        changed = {name: fields[name] for name, value in before.items() if fields[name] != value}
        if changed:
            subscription = in_force(subscriptions_of(account.pk), clock)
            was_paused = own_pause(account, subscription, clock)
            if "trial_ends_at" in changed:
                account.trial_ended_at = None
            for name, value in changed.items():
                setattr(account, name, value)
            account.save(update_fields=[*changed, "trial_ended_at"])
            old = {name: before[name] for name in changed}
            write_audit(account, "account.changed", actor=actor, at=now, before=old, after=changed, reason=reason)
            _follow_up(account, subscription, changed, was_paused, clock)
    return account


def _follow_up(
    account: Account,
    subscription: Subscription,
    changed: Mapping[str, Any],
    was_paused: Pause | None,
    clock: datetime,
) -> None:
    """What a change of settings means for the limit, the pause at it, and the end of a trial."""
    if "limit_override" in changed:
        refresh_limit(account, clock, "settings")
    elif "at_limit" in changed or "auto_upgrade" in changed:
        reconsider(account, clock, "settings")
    if changed.get("auto_upgrade") is False:
        _confirm_opt_out(account, clock)
    if "trial_ends_at" in changed:
        _prolong_trial(account, subscription, was_paused, clock)


def _prolong_trial(account: Account, subscription: Subscription, was_paused: Pause | None, clock: datetime) -> None:
    """A trial that had ended may go on by now."""
    end_trial_gaps(account, subscription, clock)
    period = current_period(account.pk, clock)
    if was_paused is None or period is None or own_pause(account, subscription, clock) is not None:
        return
    reconsider(account, clock, "settings")
    tell_if_running(account, period_at(account.pk, clock), clock, "settings")


def _confirm_opt_out(account: Account, clock: datetime) -> None:
    """Tell an account that has opted out of upgrades what that will cost; not one that never had anything to count."""
    period = current_period(account.pk, clock)
    if period is not None:
        facts = facts_of(account, period, at=clock)
        tell(account, period, Kind.OPTED_OUT, facts, key=clock.isoformat())


def _check_fixed(account: Account, fields: Mapping[str, Any], clock: datetime) -> None:
    for name in ("signed_up_at", "anchor"):
        if name in fields and fields[name] != getattr(account, name):
            raise Refused("fixed", f"{name} cannot be changed once the account exists.", field=name)
    tier: Tier = in_force(subscriptions_of(account.pk), clock).tier
    for name, present in (("plan", tier.plan.key), ("tier", tier.key)):
        if fields.get(name, present) != present:
            detail = f"The account is on {tier.plan.key}/{tier.key}; use upgrade or downgrade to change it."
            raise Refused("use_upgrade_or_downgrade", detail, field=name)


def put_connection(
    account: Account, key: str, fields: Mapping[str, Any], *, actor: str, now: datetime
) -> tuple[Connection, bool]:
    """Create a connection (then `kind` is needed), or change the settings that are given; whether it was created.

    Raises `Refused`: `missing_field`, `fixed` (a kind cannot change: only contact syncs have members).
    """
    with locked(account.pk) as meter:
        account = Account.objects.get(pk=account.pk)
        connection = Connection.objects.filter(account=account, key=key).first()
        if connection is None:
            connection = _create_connection(account, key, fields, actor=actor, now=now)
            _reconsider_what_is_held(account, meter.clock or now)
            return connection, True
        if fields.get("kind", connection.kind) != connection.kind:
            raise Refused("fixed", "kind cannot be changed once the connection exists.", field="kind")
        before = {name: getattr(connection, name) for name in CONNECTION_SETTINGS if name in fields}
        changed = {name: fields[name] for name, value in before.items() if fields[name] != value}
        if not changed:
            return connection, False
        for name, value in changed.items():
            setattr(connection, name, value)
        if "enabled" in changed:
            connection.switched_at = [
                *connection.switched_at,
                max([meter.clock or now, *connection.switched_at]),
            ]
        connection.save(update_fields=[*changed, "switched_at"])
        old = {name: before[name] for name in changed}
        _audit_connection(connection, "connection.changed", old, changed, actor=actor, now=now)
        if "enabled" in changed or "replayable" in changed:
            _reconsider_what_is_held(account, meter.clock or now)
    return connection, False


def _reconsider_what_is_held(account: Account, clock: datetime) -> None:
    """Whether to hold or to upgrade depends on the enabled connections."""
    period = period_at(account.pk, clock)
    if period is not None and period.limit_state == LimitState.HOLDING:
        reconsider(account, clock, "settings")


def _create_connection(
    account: Account, key: str, fields: Mapping[str, Any], *, actor: str, now: datetime
) -> Connection:
    if "kind" not in fields:
        raise Refused("missing_field", "A new connection needs a kind.", field="kind", status=400)
    settings = {name: fields[name] for name in ("kind", *CONNECTION_SETTINGS) if name in fields}
    connection = Connection.objects.create(account=account, key=key, **{"name": key, **settings})
    _audit_connection(connection, "connection.created", {}, settings, actor=actor, now=now)
    return connection


def _audit_connection(
    connection: Connection,
    action: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    actor: str,
    now: datetime,
) -> None:
    named = {"connection": connection.key}
    write_audit(connection.account, action, actor=actor, at=now, before={**named, **before}, after={**named, **after})
