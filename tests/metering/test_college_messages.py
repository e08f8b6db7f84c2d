"""Real mail of a real college in 2004 gives the numbers that an independent script counted (college-messages.md).

The file is not ours to ship: it lies beside the checkout where this project is developed.
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django_q.models import OrmQ

from accounts.models import Account
from metering.daily import curve
from metering.forecast import forecast
from metering.models import AccountMeter, BillingPeriod, Event, EventState, OutcomeTally
from metering.reconcile import differences
from notifications.models import Notification
from plans.models import PeriodRule, Subscription
from tests.billing_site.programs import ROOT
from tests.factories import make_plan, put_account, put_connection

DATA = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "college-messages.txt").exists(), reason="the college messages do not lie beside this checkout"
)


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All messages as CloudEvents, made by the script that comes with them."""
    path = tmp_path_factory.mktemp("college") / "messages.ndjson"
    with path.open("wb") as written:
        words = [sys.executable, str(DATA / "to_cloudevents.py"), str(DATA / "college-messages.txt")]
        subprocess.run(words, stdout=written, check=True)
    return path


@pytest.fixture(scope="module")
def messages_of_may(messages: Path) -> Path:
    """Those from 29 April to 2 June: May of every time zone."""
    path = messages.with_name("may.ndjson")
    with messages.open() as lines, path.open("w") as written:
        written.writelines(
            line for line in lines if "2004-04-29" <= line.partition('"time": "')[2][:10] <= "2004-06-02"
        )
    return path


@pytest.fixture
def college(db: None) -> Callable[..., Account]:
    """An account that pays by active contacts, has no limit unless told, and is older than the messages."""

    def college(
        rule: PeriodRule, timezone: str = "UTC", limit: int | None = None, at_limit: str = "by_replayability"
    ) -> Account:
        make_plan("campus", {"all": limit, "more": 2_500}, period_rule=rule, at_limit=at_limit)
        account = put_account(
            "college",
            plan="campus",
            tier="all",
            timezone=timezone,
            signed_up_at=datetime(2004, 3, 1, tzinfo=UTC),
            anchor=datetime(2004, 4, 15, tzinfo=UTC),
        )
        put_connection(account, "college-mail", "engagement")
        return account

    return college


def counted(path: Path, account: Account) -> dict[str, tuple[int, int]]:
    """Import by the event clock; events and unique senders of each period in which there were any, by its start."""
    call_command("import_events", str(path), account=account.slug, clock="event", verbosity=0)
    periods = BillingPeriod.objects.filter(account=account, carried_in=0, app_connector_events__gt=0)
    return {
        f"{period.starts_at:%d %b %Y %H:%M}": (period.app_connector_events, period.active_contacts)
        for period in periods.order_by("starts_at")
    }


def test_each_calendar_month_counts_its_own_senders(college: Callable[..., Account], messages: Path) -> None:
    account = college(PeriodRule.CALENDAR_MONTH)

    months = counted(messages, account)

    assert {start: months[start] for start in list(months)[:4]} == {
        "01 Apr 2004 00:00": (4_929, 313),
        "01 May 2004 00:00": (37_698, 1_038),
        "01 Jun 2004 00:00": (7_911, 740),
        "01 Jul 2004 00:00": (3_699, 360),
    }
    assert sum(events for events, _ in months.values()) == 59_835
    assert sum(senders for _, senders in months.values()) == 3_157
    assert AccountMeter.objects.get(account=account).contacts_known == 1_350
    assert not BillingPeriod.objects.filter(account=account).exclude(carried_in=0).exists()


def test_each_anniversary_period_counts_its_own_senders(college: Callable[..., Account], messages: Path) -> None:
    account = college(PeriodRule.ANNIVERSARY)

    assert counted(messages, account) == {
        "15 Apr 2004 00:00": (21_745, 727),
        "15 May 2004 00:00": (27_846, 1_045),
        "15 Jun 2004 00:00": (3_184, 379),
        "15 Jul 2004 00:00": (2_475, 289),
        "15 Aug 2004 00:00": (2_536, 277),
        "15 Sep 2004 00:00": (1_779, 222),
        "15 Oct 2004 00:00": (270, 83),
    }
    assert not BillingPeriod.objects.filter(account=account).exclude(carried_in=0).exists()


def forecasts(period: BillingPeriod) -> dict[int, int]:
    """How far off the forecast of each morning of a period was, in per cent of what came, by the day of the month."""
    whole = curve(period, "UTC")
    used = period.active_contacts
    off = {}
    for day in range(1, (whole.last - whole.first).days + 2):
        today = whole.first.replace(day=day)
        so_far = whole._replace(days={of: number for of, number in whole.days.items() if of < today})
        foreseen = forecast(so_far, None, today, stands=False).used_at_period_end
        if foreseen is not None:
            off[day] = round(100 * (foreseen - used) / used)
    return off


def test_how_far_off_the_forecasts_were_is_what_the_docs_say(college: Callable[..., Account], messages: Path) -> None:
    """And from the twentieth on within 11 per cent."""
    account = college(PeriodRule.CALENDAR_MONTH)
    counted(messages, account)
    periods = BillingPeriod.objects.filter(
        account=account, starts_at__year=2004, starts_at__month__range=(5, 9)
    ).order_by("starts_at")

    months = {f"{period.starts_at:%B}": forecasts(period) for period in periods.select_related("subscription__tier")}

    assert list(months) == ["May", "June", "July", "August", "September"]
    rows = [f"| {day} | {' | '.join(f'{months[name].get(day, 0):+d} %' for name in months)} |" for day in range(8, 31)]
    assert "\n".join(rows) in (ROOT / "docs" / "forecast.md").read_text()
    assert all(abs(off) <= 11 for days in months.values() for day, off in days.items() if day >= 20)


@pytest.mark.parametrize(
    ("timezone", "start", "senders"),
    [("America/Los_Angeles", "01 May 2004 07:00", 1_041), ("Europe/Tallinn", "30 Apr 2004 21:00", 1_039)],
)
def test_the_month_depends_on_the_time_zone(
    college: Callable[..., Account], messages_of_may: Path, timezone: str, start: str, senders: int
) -> None:
    months = counted(messages_of_may, college(PeriodRule.CALENDAR_MONTH, timezone))

    assert months[start][1] == senders


@pytest.fixture(scope="module")
def messages_to_june(messages: Path) -> Path:
    """Those up to the end of June."""
    path = messages.with_name("june.ndjson")
    with messages.open() as lines, path.open("w") as written:
        written.writelines(line for line in lines if line.partition('"time": "')[2][:10] <= "2004-06-30")
    return path


CROSSED = [
    (80, 1_000, datetime(2004, 5, 20, 23, 30, 21, tzinfo=UTC), "historical", None),
    (100, 1_000, datetime(2004, 5, 27, 18, 46, 15, tzinfo=UTC), "historical", None),
]


def mails(kind: str) -> list[tuple[Any, ...]]:
    """The mails of a kind, in order."""
    found = Notification.objects.filter(kind=kind).order_by("pk")
    return list(found.values_list("percent", "limit", "created_at", "state", "sent_at"))


@pytest.mark.parametrize(
    ("at_limit", "june"), [("limit_new", 740), ("pause", 740), ("hold", 751)], ids=["limit_new", "pause", "hold"]
)
def test_a_limit_of_1000_admits_exactly_1000_in_may(
    college: Callable[..., Account], messages_to_june: Path, at_limit: str, june: int
) -> None:
    account = college(PeriodRule.CALENDAR_MONTH, limit=1_000, at_limit=at_limit)

    call_command("import_events", str(messages_to_june), account=account.slug, clock="event", verbosity=0)

    periods = BillingPeriod.objects.filter(account=account, starts_at__year=2004).order_by("starts_at")
    assert list(periods.values_list("active_contacts", flat=True))[:3] == [313, 1_000, june]
    assert mails("threshold") == CROSSED
    assert Subscription.objects.count() == 1
    assert not OrmQ.objects.exists()
    assert differences(account) == []


def test_what_is_held_of_the_38_people_replays_in_june(
    college: Callable[..., Account], messages_to_june: Path, messages_of_may: Path
) -> None:
    account = college(PeriodRule.CALENDAR_MONTH, limit=1_000, at_limit="hold")

    call_command("import_events", str(messages_to_june), account=account.slug, clock="event", verbosity=0)

    held = OutcomeTally.objects.filter(account_id=account.pk, outcome="held").values_list("deliveries", flat=True)
    assert list(held) == [135]
    replayed = Event.objects.filter(account_id=account.pk, period__starts_at=datetime(2004, 6, 1, tzinfo=UTC))
    replayed = replayed.filter(occurred_at__lt=datetime(2004, 6, 1, tzinfo=UTC))
    assert replayed.count() == 135
    assert replayed.values("contact_id").distinct().count() == 38
    assert not Event.objects.filter(account_id=account.pk, state=EventState.HELD).exists()
    assert [row[2:4] for row in mails("resumed")] == [(datetime(2004, 6, 1, tzinfo=UTC), "historical")]


def test_an_account_that_upgrades_does_so_once_and_counts_all_1038(
    college: Callable[..., Account], messages_of_may: Path
) -> None:
    account = college(PeriodRule.CALENDAR_MONTH, limit=1_000)

    months = counted(messages_of_may, account)

    assert months["01 May 2004 00:00"] == (37_698, 1_038)
    assert mails("threshold") == CROSSED
    upgraded = list(Subscription.objects.order_by("starts_at").values_list("tier__key", "reason"))
    assert upgraded == [("all", "sign-up"), ("more", "limit_reached")]
    assert [row[:2] + row[3:4] for row in mails("upgraded")] == [(None, 2_500, "historical")]
    assert differences(account) == []
