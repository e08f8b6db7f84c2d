"""What is told before a setting is changed that will lose data later."""

from accounts.models import Account
from metering.policy import enabled_connections
from notifications.at_limit import LOST, WHAT_STOPS
from notifications.words import listed


def opt_out_warning(account: Account) -> str:
    """What an account loses at its limit once automatic upgrades are off, and from which connections."""
    names = [row.name or row.key for row in enabled_connections(account.pk)]
    affected = f" Connections that are enabled now: {listed(names)}." if names else ""
    return (
        "Without automatic upgrades an account that reaches its limit is paused, unless its policy there is to hold "
        f"events or to serve no new contacts. Then {WHAT_STOPS} stop. {LOST}{affected}"
    )
