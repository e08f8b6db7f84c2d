"""`make demo` shows the product: sample accounts that stand exactly where they are said to, and a site to see them."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts.models import Account, User
from billing_site.demo import load
from billing_site.demo.load import load_all
from billing_site.demo.samples import LARGEST, SAMPLES, Sample
from billing_site.demo.story import counts, events_of
from metering import history, limits
from metering.catalogue import BY_NAME
from metering.models import AccountMeter, BillingPeriod, Event, EventState, Gap, UpgradeCause
from metering.reconcile import differences
from plans.models import Unit
from tests.billing_site.programs import ROOT, environment
from tests.factories import NOW, rows

STANDINGS = {
    "tulip-notebooks": (0, 1_000, "ok"),
    "harbour-coffee": (799, 1_000, "ok"),
    "bergmann-soehne": (800, 1_000, "warning"),
    "fjellheim-friluft": (1_000, 1_000, "limit_reached"),
    "nordlicht-reisen": (1_240, 2_500, "ok"),
    "quarry-tools": (1_000, 1_000, "holding"),
    "ateliers-lumiere": (1_000, 1_000, "paused"),
    "kestrel-analytics": (960, 900, "over_top_tier"),
    "papaya-yoga": (137, 500, "ok"),
    "clinica-mirador": (64, 100, "ok"),
    "orchard-press": (612, 1_000, "ok"),
    "meridian-events": (1_920, 2_500, "ok"),
}
UNITS = {
    "connect": Unit.ACTIVE_CONTACTS,
    "social": Unit.ACTIVATED_CONTACTS,
    "connect-legacy": Unit.APP_CONNECTOR_EVENTS,
}
SMALL = next(sample for sample in SAMPLES if sample.slug == "papaya-yoga")


def standings() -> dict[str, tuple[int, int | None, str]]:
    """Used, limit and state of each account's present period, in the unit of its plan."""
    now = timezone.now()
    present = BillingPeriod.objects.filter(starts_at__lte=now, ends_at__gt=now)
    found: dict[str, tuple[int, int | None, str]] = {}
    for period in present.select_related("account", "subscription__tier__plan"):
        used = getattr(period, period.subscription.tier.plan.unit)
        state = limits.standing(used, period.limit, limit_state=period.limit_state)
        found[period.account.slug] = (used, period.limit, state)
    return found


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The address of the test database, for a process of its own."""
    found = connection.get_connection_params()
    server = {name: found[name] for name in ("host", "port", "user", "password") if found.get(name)}
    return f"postgresql:///{found['dbname']}?{urlencode(server)}"


class Demo:
    """A running `manage.py demo`: what it printed until it served, and what was to be found in that."""

    def __init__(self, database_url: str) -> None:
        words = [sys.executable, "manage.py", "demo", "--port", "0"]
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=environment(DATABASE_URL=database_url), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith("Try:"):
                break

    def word_after(self, beginning: str) -> str:
        """The first word after this beginning of a line."""
        line = next(line for line in self.lines if line.startswith(beginning))
        return line.removeprefix(beginning).split()[0]

    def stop(self) -> int:
        self.process.terminate()
        self.process.communicate()
        return self.process.returncode


def ask(address: str, key: str) -> Any:
    request = Request(f"{address}api/v1/usage", headers={"Authorization": f"Bearer {key}"})  # noqa: S310
    with urlopen(request) as answer:  # noqa: S310 - our own address
        return json.load(answer)


def ask_for_a_link(address: str, key: str) -> str:
    url = f"{address}api/v1/accounts/{LARGEST}/usage-link"
    with urlopen(Request(url, headers={"Authorization": f"Bearer {key}"}, method="POST")) as answer:  # noqa: S310
        link: str = json.load(answer)["url"]
    return link


def test_demo_prepares_everything_serves_it_and_does_so_again(database_url: str) -> None:
    demo = Demo(database_url)
    try:
        address = demo.word_after("Headcount is at ")
        usage = ask(address, demo.word_after(f"Key of {LARGEST}"))
        window = demo.word_after(f"Usage page of {LARGEST}")
        link = ask_for_a_link(address, demo.word_after("Operator key"))
        with urlopen(window) as page:  # noqa: S310 - our own address
            shown = page.read().decode()
        password = next(line for line in demo.lines if line.startswith("Staff login")).split()[-1]
    finally:
        assert demo.stop() == 0

    assert (usage["account"], usage["used"], usage["limit"]) == (LARGEST, 1_920, 2_500)
    assert "1,920 of 2,500 active contacts" in shown
    assert window.startswith(f"{address}usage/?token=")
    assert link.startswith(f"{address}usage/?token=")
    assert authenticate(username="demo", password=password) == User.objects.get(is_superuser=True)
    assert standings() == STANDINGS
    assert all(differences(account) == [] for account in Account.objects.all())
    assert any("quarry-tools" in line and "holding" in line for line in demo.lines)
    unusual = Event.objects.exclude(state=EventState.RECORDED).values_list("account__slug", "state").distinct()
    assert list(unusual) == [("quarry-tools", EventState.HELD)]
    before = rows(BillingPeriod, "account__slug", "starts_at", "app_connector_events", "active_contacts")

    again = Demo(database_url)
    assert again.stop() == 0

    assert [line for line in again.lines if line.endswith("…")] == ["Preparing the database …"]
    assert rows(BillingPeriod, "account__slug", "starts_at", "app_connector_events", "active_contacts") == before


def test_an_interrupted_demo_goes_on_where_it_was(catalogue: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SAMPLES", [SMALL])
    monkeypatch.setattr(load, "BATCH", 50)
    replay, batches = history.replay, iter(range(3))

    def interrupted(*args: Any) -> Any:
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return replay(*args)

    monkeypatch.setattr(history, "replay", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_all(timezone.now, print)
    monkeypatch.setattr(history, "replay", replay)
    assert Event.objects.count() == 150

    load_all(timezone.now, print)

    assert Event.objects.count() == 410
    assert standings() == {"papaya-yoga": (137, 500, "ok")}
    assert AccountMeter.objects.get(account__slug="papaya-yoga").clock is None


def sample_named(slug: str) -> Sample:
    return next(sample for sample in SAMPLES if sample.slug == slug)


@pytest.fixture
def loaded(request: pytest.FixtureRequest, catalogue: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The account of one sample, alone."""
    monkeypatch.setattr(load, "SAMPLES", [sample_named(request.param)])
    load_all(timezone.now, print)
    assert standings() == {request.param: STANDINGS[request.param]}
    return Account.objects.get(slug=request.param)


def sent_by(account: Account) -> int:
    return sum(month.events for month in sample_named(account.slug).months)


def recorded(account: Account) -> int:
    return Event.objects.filter(account=account, state=EventState.RECORDED).count()


@pytest.mark.parametrize("loaded", ["nordlicht-reisen"], indirect=True)
def test_one_sample_was_upgraded_at_the_crossing(loaded: Account) -> None:
    assert rows(UpgradeCause, "limit", "used", "outcome") == [(1_000, 1_001, "upgraded")]
    assert rows(Event, "account__slug").count("nordlicht-reisen") == recorded(loaded) == sent_by(loaded)


@pytest.mark.parametrize("loaded", ["quarry-tools"], indirect=True)
def test_one_sample_holds_the_events_of_the_people_that_do_not_fit(loaded: Account) -> None:
    held = Event.objects.filter(account=loaded, state=EventState.HELD)

    assert held.values("contact").distinct().count() == 1_060 - 1_000
    assert recorded(loaded) + held.count() == sent_by(loaded)


@pytest.mark.parametrize("loaded", ["ateliers-lumiere"], indirect=True)
def test_one_sample_is_paused_and_its_gap_has_all_that_was_dropped(loaded: Account) -> None:
    gaps = Gap.objects.filter(account=loaded)

    assert set(gaps.values_list("reason", "ends_at")) == {("limit_reached", None)}
    assert recorded(loaded) + sum(gaps.values_list("events", flat=True)) == sent_by(loaded)
    assert not Event.objects.exclude(state=EventState.RECORDED).exists()


@pytest.mark.parametrize("loaded", ["kestrel-analytics"], indirect=True)
def test_one_sample_is_over_the_top_tier_and_counts_on(loaded: Account) -> None:
    assert rows(UpgradeCause, "limit", "used", "outcome") == [(900, 901, "over_top_tier")]
    assert loaded.limit_override == 900
    assert recorded(loaded) == sent_by(loaded)


def test_without_debug_a_database_of_others_gets_no_login(acme: Account, settings: Any) -> None:
    settings.DEBUG = False

    with pytest.raises(CommandError, match="This database holds accounts of others"):
        call_command("demo")

    assert not User.objects.exists()


# -- the stories ------------------------------------------------------------------------------------------------------


def months_before(end: datetime, number: int) -> list[tuple[datetime, datetime]]:
    starts = [end - timedelta(days=30 * back) for back in range(number, -1, -1)]
    return list(pairwise(starts))


def story_of(sample: Sample) -> list[list[dict[str, Any]]]:
    return list(events_of(sample, UNITS[sample.plan], months_before(NOW, len(sample.months))))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.slug)
def test_a_story_counts_exactly_and_is_told_the_same_way_each_time(sample: Sample) -> None:
    unit, story = UNITS[sample.plan], story_of(sample)

    for month, events in zip(sample.months, story, strict=True):
        counting = [event for event in events if counts(BY_NAME[event["type"]], unit)]
        assert len(events) == month.events
        assert len({event["subject"] for event in counting}) == month.people
        if unit == Unit.APP_CONNECTOR_EVENTS:
            assert len(counting) == month.events
    for earlier, later in pairwise(sample.months):
        assert earlier.people <= later.people  # who is carried in counts anyway
    ids = [event["id"] for events in story for event in events]
    times = [datetime.fromisoformat(event["time"]) for events in story for event in events]
    assert len(set(ids)) == len(ids)
    assert times == sorted(times)
    assert story_of(sample) == story


@pytest.fixture(scope="module")
def largest() -> list[dict[str, Any]]:
    [sample] = [sample for sample in SAMPLES if sample.slug == LARGEST]
    return [event for month in story_of(sample) for event in month]


def test_the_large_story_has_a_weekly_rhythm(largest: list[dict[str, Any]]) -> None:
    weekdays = Counter(datetime.fromisoformat(event["time"]).astimezone(UTC).weekday() for event in largest)

    assert min(weekdays[day] for day in range(5)) > 2.5 * max(weekdays[day] for day in (5, 6))


def test_in_the_large_story_a_few_do_most_of_it(largest: list[dict[str, Any]]) -> None:
    people = Counter(event["subject"] for event in largest).most_common()
    tenth = sum(events for _, events in people[: len(people) // 10])

    assert tenth > len(largest) / 2


def test_every_demo_account_is_of_a_sample(db: None) -> None:
    assert set(STANDINGS) == {sample.slug for sample in SAMPLES}
