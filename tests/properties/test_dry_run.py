"""A dry run answers what the real one would, and writes nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account
from metering.intake import UsageSummary
from metering.models import BillingPeriod
from tests.factories import deliver, event, put_account
from tests.properties.books import come_by, everything_stored
from tests.properties.world import Delivery, as_sent, deliveries, examples, happenings, make_account, undone

LIMIT = 3
"""So small that these batches cross 80 % and 100 %."""

JUNK = [
    event(account="berlin", type="contact.sneezed", id="junk-1"),
    event(account="berlin", source="no-such-connection", id="junk-2"),
    event(account="berlin", source="scoring", type="score.set", id="junk-3", data={"value": "high"}),
    event(account="nobody", id="junk-4"),
    event(id="junk-5"),
    {"specversion": "1.0"},
    "junk",
]
RENAME = event(
    account="berlin",
    source="crm",
    type="contact.renamed",
    id="moves",
    subject="ann@example.org",
    time="2026-10-30T00:00:00Z",
    data={"from": "ann@example.com"},
)

stories = happenings(most=8).flatmap(deliveries)
bad_items = st.lists(st.sampled_from([*JUNK, RENAME]), max_size=3)


@pytest.fixture
def account(catalogue: None) -> Account:
    """With a limit of three contacts; beside it stands an account that never hears of anything."""
    put_account("paris")
    return make_account(limit_override=LIMIT)


def thresholds_between(used_before: int, used: int) -> list[int]:
    return [percent for percent in (80, 100) if 100 * used_before < percent * LIMIT <= 100 * used]


def used_at(account: Account, step: Delivery) -> int:
    now = step.now
    period = BillingPeriod.objects.filter(account=account, starts_at__lte=now, ends_at__gt=now).first()
    return period.active_contacts if period else 0


def standing(summary: UsageSummary) -> tuple[Any, ...]:
    return summary.unit, summary.used, summary.limit, summary.state


@examples(30)
@given(steps=stories, junk=bad_items)
def test_a_dry_run_answers_what_the_real_one_then_does_and_leaves_no_trace(
    account: Account, steps: list[Delivery], junk: list[Any]
):
    with undone():
        for step in steps:
            come_by(account, step.beforehand, step.now)
            used_before, stored_before = used_at(account, step), everything_stored()
            batch = [*(as_sent(it) | {"account": account.slug} for it in step.batch), *junk]

            tried = deliver(None, batch, now=step.now, dry_run=True)
            assert everything_stored() == stored_before
            done = deliver(None, batch, now=step.now)

            assert tried.items == done.items
            assert list(tried.usage) == list(done.usage) == [account.slug]
            assert standing(tried.usage[account.slug]) == standing(done.usage[account.slug])
            used = done.usage[account.slug].used
            assert tried.usage[account.slug].crossed == thresholds_between(used_before, used)
