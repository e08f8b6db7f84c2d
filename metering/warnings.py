"""What somebody must know before they change a setting: the words that the API and the admin both show."""

from collections.abc import Mapping
from typing import Any

from accounts.models import Account
from metering.policy import enabled_connections


def warning_before(slug: str, fields: Mapping[str, Any]) -> str | None:
    """The warning that a push of settings to an account calls for; None if it takes nothing away.

    Asked before the push: afterwards nothing tells what it has changed.
    """
    if fields.get("auto_upgrade") is not False:
        return None
    account = Account.objects.filter(slug=slug, auto_upgrade=True).first()
    return None if account is None else opt_out_warning(account)


def opt_out_warning(account: Account) -> str:
    """What an account loses at its limit once it has opted out of automatic upgrades."""
    names = [row.name if row.name == row.key else f"{row.name} ({row.key})" for row in enabled_connections(account.pk)]
    concerned = f"This concerns: {', '.join(names)}." if names else "No connection is enabled at present."
    return (
        "Without automatic upgrades the account is paused when it reaches its limit, unless it is set to hold events "
        "or to limit new contacts there. While it is paused, contact sync, engagement sync, web tracking, lead scoring "
        "and automations stop. Data that arrives while it is paused is dropped: it leaves gaps and cannot be replayed. "
        + concerned
    )
