"""What is settled about an account's time to come: when it begins anew or closes, its trial's end, its next plan."""

from collections.abc import Sequence
from datetime import datetime

from accounts.models import Account
from metering.models import BillingPeriod
from metering.state import trial_end
from notifications.words import moment
from plans.models import Subscription
from plans.subscriptions import in_force, pending_after


def is_closed(account: Account, at: datetime) -> bool:
    """Whether nothing more is counted."""
    return account.closed_at is not None and account.closed_at <= at


def coming(
    account: Account, period: BillingPeriod, subscriptions: Sequence[Subscription], at: datetime
) -> list[tuple[str, str]]:
    """Each as a label and what it says. `period` is the present one, or of a closed account its last."""

    def local(when: datetime) -> str:
        return moment(when, account.timezone)

    if account.closed_at is not None:
        rows = [("Closed since" if is_closed(account, at) else "Closes on", local(account.closed_at))]
    else:
        rows = [("Begins anew on", local(period.ends_at))]
    trial_ends_at = trial_end(account, in_force(subscriptions, at))
    if trial_ends_at is not None and trial_ends_at > at and account.closed_at is None:
        rows.append(("The trial ends, and all pauses, on", local(trial_ends_at)))
    pending = pending_after(subscriptions, at)
    if pending is not None:
        rows.append(("Next plan", f"{pending.tier.plan.key} / {pending.tier.key} from {local(pending.starts_at)}"))
    return rows
