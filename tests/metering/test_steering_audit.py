"""What steering leaves in the audit trail: a row for each change, none where nothing was changed."""

import pytest

from accounts.models import Account, AuditEntry
from metering import steering
from metering.models import BillingPeriod
from tests.factories import NOW, deliver, event, put_account, rows

pytestmark = pytest.mark.django_db


def test_a_replay_without_room_leaves_no_row(acme: Account):
    put_account("acme", limit_override=2, at_limit="hold")
    deliver(acme, [event() for _ in range(4)])
    BillingPeriod.objects.update(limit=3)  # room for one of the two that are held

    first, again = (steering.replay(acme, reason="asked", actor="sam", now=NOW) for _ in range(2))

    assert (first, again) == (steering.ReplayRow(1, 1), steering.ReplayRow(0, 1))
    assert rows(AuditEntry, "action", actor="sam") == ["account.replayed"]
