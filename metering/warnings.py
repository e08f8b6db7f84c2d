"""What somebody must know before they change a setting: the words that the API and the admin both show."""

from collections.abc import Mapping
from typing import Any

from accounts.models import Account
from metering.policy import enabled_connections
from notifications.at_limit import LOST, WHAT_STOPS
from notifications.words import listed


def warning_before(slug: str, fields: Mapping[str, Any]) -> str | None:
    """The warning that a push of settings to an account calls for; None if it takes nothing away.

    Asked before the push: afterwards nothing tells what it has changed.
    """
    if fields.get("auto_upgrade") is not False:
        return None
    account = Account.objects.filter(slug=slug, auto_upgrade=True).first()
    return None if account is None else opt_out_warning(account)


def opt_out_warning(account: Account) -> str:
    """What an account loses at its limit once automatic upgrades are off, and from which connections."""
    names = [row.name if row.name == row.key else f"{row.name} ({row.key})" for row in enabled_connections(account.pk)]
    concerned = f"This concerns {listed(names)}." if names else "No connection is enabled at present."
    return (
        "Without automatic upgrades the account is paused when it reaches its limit, unless its policy there is to "
        f"hold events or to serve no new contacts. Then {WHAT_STOPS} stop. {LOST} {concerned}"
    )
