"""What the next period will open with if nothing changes, and how many of those nobody has heard of for long."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from metering import sql
from metering.carry_in import STATE_AT_START, parameters_of_state
from metering.models import BillingPeriod

QUIET_FOR: Final = (30, 60, 90)
"""Days without an engagement."""

# Who is carried in, who of them by membership alone; and of those, since when nobody has heard of so many.
_OPENING = f"""
SELECT count(*), count(*) FILTER (WHERE only_synced),
       count(*) FILTER (WHERE only_synced AND coalesce(last_engaged_at < (%(since)s::timestamptz[])[1], true)),
       count(*) FILTER (WHERE only_synced AND coalesce(last_engaged_at < (%(since)s::timestamptz[])[2], true)),
       count(*) FILTER (WHERE only_synced AND coalesce(last_engaged_at < (%(since)s::timestamptz[])[3], true))
FROM (
  SELECT contact.last_engaged_at, place.reasons = %(synced)s AS only_synced
  FROM (SELECT contact_id, bit_or(reason) AS reasons FROM ({STATE_AT_START}) AS state GROUP BY contact_id) AS place
  JOIN metering_contact AS contact ON contact.account_id = %(account)s AND contact.id = place.contact_id
) AS opening
"""  # noqa: S608 - a text of ours


class NextOpening(NamedTuple):
    """Contacts that would be carried into the next period: all of them, those that are only in a contact sync, and of
    these, by a number of days, those who have had no engagement (nor visit) for so long. These leave the next count if
    they leave the filters of the syncs."""

    carried_in: int
    only_synced: int
    quiet: Mapping[int, int]


def next_opening(period: BillingPeriod, at: datetime) -> NextOpening:
    """By the state of the account's contacts now, after the end of a period, its newest."""
    parameters = parameters_of_state(period.account_id, period.ends_at)
    if not parameters["connections"]:
        return NextOpening(0, 0, dict.fromkeys(QUIET_FOR, 0))
    since = [at - timedelta(days=days) for days in QUIET_FOR]
    [[carried_in, only_synced, *quiet]] = sql.run(_OPENING, parameters | {"since": since})
    return NextOpening(carried_in, only_synced, dict(zip(QUIET_FOR, quiet, strict=True)))
