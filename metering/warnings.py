"""What somebody must know before they change a setting: the words that the API and the admin both show."""

from collections.abc import Mapping
from typing import Any

from accounts.models import Account, AtLimitPolicy
from metering.policy import enabled_connections
from notifications.at_limit import LOST, WHAT_STOPS
from notifications.words import listed


def warning_before(slug: str, fields: Mapping[str, Any]) -> str | None:
    """The warning that a push of settings to an account calls for; None if it takes nothing away.

    Asked before the push: afterwards nothing tells what it has changed.
    """
    account = Account.objects.filter(slug=slug).first()
    if account is None:
        return None
    if fields.get("auto_upgrade") is False and account.auto_upgrade:
        return opt_out_warning(account)
    if fields.get("at_limit") == AtLimitPolicy.PAUSE and account.at_limit != AtLimitPolicy.PAUSE:
        return pause_warning(account)
    return None


def opt_out_warning(account: Account) -> str:
    """What an account loses at its limit once automatic upgrades are off, and from which connections."""
    return (
        "Without automatic upgrades the account is paused when it reaches its limit, unless its policy there is to "
        f"hold events or to serve no new contacts. Then {WHAT_STOPS} stop. {LOST} {_concerned(account)}"
    )


def pause_warning(account: Account) -> str:
    """What an account loses at its limit if it is to be paused there."""
    return f"At its limit the account is paused: {WHAT_STOPS} stop. {LOST} {_concerned(account)}"


def _concerned(account: Account) -> str:
    names = [row.name if row.name == row.key else f"{row.name} ({row.key})" for row in enabled_connections(account.pk)]
    return f"This concerns {listed(names)}." if names else "No connection is enabled at present."
