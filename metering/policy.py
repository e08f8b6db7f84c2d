"""What happens at an account's limit: its settings and enabled connections, put to the rule in `limits`."""

from dataclasses import dataclass
from typing import cast

from accounts.models import Account, Connection, ConnectionKind
from metering.limits import AtLimit, Policy, at_limit
from plans.models import Subscription, Unit

REPLAYABLE_KINDS = (ConnectionKind.CONTACT_SYNC, ConnectionKind.LEAD_SCORING)
"""The kinds whose data can be read again later, unless a connection says otherwise."""


@dataclass(frozen=True, slots=True)
class EnabledConnection:
    """A connection that takes part in the decision, and whether what it sends can be read again."""

    key: str
    name: str
    replayable: bool


def is_replayable(connection: Connection) -> bool:
    """By the connection's own mark, else by its kind."""
    if connection.replayable is not None:
        return connection.replayable
    return connection.kind in REPLAYABLE_KINDS


def enabled_connections(account_id: int) -> list[EnabledConnection]:
    """Every enabled connection of an account, by key."""
    rows = Connection.objects.filter(account_id=account_id, enabled=True).order_by("key")
    return [EnabledConnection(row.key, row.name, is_replayable(row)) for row in rows]


def policy_of(account: Account, subscription: Subscription, connections: list[EnabledConnection]) -> AtLimit:
    """What is done with the first event that would exceed the limit of an account on a subscription."""
    tier = subscription.tier
    return at_limit(
        plan_policy=cast(Policy, tier.plan.at_limit),
        own_policy=cast(Policy | None, account.at_limit),
        counts_events=tier.plan.unit == Unit.APP_CONNECTOR_EVENTS,
        trial=tier.trial,
        auto_upgrade=account.auto_upgrade,
        replayable=(connection.replayable for connection in connections),
    )
