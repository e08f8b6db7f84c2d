"""The customer's window in a real browser, served by the real site: each number equals the API's, and it is fit to see.

Needs Chromium (`scripts/chromium.sh` installs it where it can). With SCREENSHOTS=1 the pictures in docs/screenshots are
taken anew.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.billing_site.programs import ROOT
from tests.billing_site.usage.site import LONG, SAMPLES, Site, running
from tests.billing_site.usage.window import PATHS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = os.environ.get("SCREENSHOTS") == "1"
LARGEST = ("meridian-events",) if SCREENSHOTS else ()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

EVERYBODY = (*SAMPLES, LONG)
PHONE, DESKTOP = 390, 1280
READ_NUMBERS = """() => Object.fromEntries([...document.querySelectorAll('[data-number]')].map(
    (each) => [each.dataset.number, Number(each.textContent.replaceAll(',', ''))]))"""
READ_ROWS = """(caption) => [...document.querySelectorAll('table')]
    .filter((each) => each.caption && each.caption.textContent.trim() === caption)
    .flatMap((each) => [...each.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim())))"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running(*SAMPLES, *LARGEST) as found:
        yield found


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens a page; at the end nothing may have been logged, refused, or asked of another host."""
    complaints: list[str] = []
    pages: list[Page] = []

    def open_at(url: str, *, width: int = DESKTOP, scheme: Any = "light", status: int = 200) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        if status == 200:
            page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _same_host(request.url, site.address, complaints))
        answer = page.goto(url)
        assert answer is not None
        assert answer.status == status
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        return page

    yield open_at
    for page in pages:
        page.close()
    assert complaints == []


def _same_host(url: str, address: str, complaints: list[str]) -> None:
    if urlsplit(url).netloc != urlsplit(address).netloc:
        complaints.append(f"asked of another host: {url}")


def numbers(page: Page) -> dict[str, int]:
    found: dict[str, int] = page.evaluate(READ_NUMBERS)
    return found


def rows(page: Page, caption: str) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(READ_ROWS, caption)
    return found


Open = Callable[..., Page]


# --- Every number is the API's ---


@pytest.mark.parametrize("slug", EVERYBODY)
def test_the_overview_shows_the_numbers_of_usage(opened: Open, site: Site, slug: str):
    shown, api = numbers(opened(site.page(slug))), site.api(slug, "usage")

    expected: dict[str, int] = {"used": api["used"]}
    if api["limit"] is not None:
        expected |= {name: api[name] for name in ("limit", "percent", "remaining")}
    if api["unit"] == "active_contacts":
        expected |= {name: api[name] for name in ("carried_in", "new")}
    if api["unit"] == "activated_contacts":
        expected |= {"contacts_known": api["contacts_known"], "activated": api["used"]}
    for what in ("by_connection", "by_reason"):
        for row in api[what]:
            name = f"{what}.{row.get('connection') or row.get('reason') or row['type']}"
            expected[f"{name}.number"] = row["contacts"] if "contacts" in row else row["events"]
            if "only_here" in row:
                expected[f"{name}.only_here"] = row["only_here"]
    sends = expected.get("by_reason.email_sent.only_here")
    if sends:
        expected["only_because_of_sends"] = sends
    if api["state"] == "paused":
        expected["lost"] = sum(row["events"] for row in everything(site, slug, "gaps") if row["to"] is None)
    held = len(everything(site, slug, "held"))
    if held:
        expected["held"] = held
    assert shown == expected


def everything(site: Site, slug: str, path: str, **query: str) -> list[dict[str, Any]]:
    """A list of the API; none of ours is longer than a page."""
    answer = site.api(slug, path, page_size="1000", **query)
    assert answer["next"] is None
    found: list[dict[str, Any]] = answer["results"]
    return found


@pytest.mark.parametrize("slug", EVERYBODY)
def test_the_curve_is_that_of_the_daily_numbers_and_ends_at_the_count(opened: Open, site: Site, slug: str):
    shown = rows(opened(site.page(slug)), "The count at the end of each day")

    api = site.api(slug, "usage")
    count, expected = api["carried_in"], []
    for row in everything(site, slug, "usage/daily"):
        count += row["new_counted"]
        expected.append([f"{row['new_counted']:,}", f"{count:,}"])
    assert [row[1:] for row in shown] == expected
    assert count == api["used"]


@pytest.mark.parametrize("slug", EVERYBODY)
def test_the_forecast_in_words_has_the_forecasts_numbers(opened: Open, site: Site, slug: str):
    words = opened(site.page(slug)).locator(".forecast").inner_text()

    forecast = site.api(slug, "usage")["forecast"]
    if forecast["used_at_period_end"]:
        assert f"{forecast['used_at_period_end']:,} " in words
    if forecast["limit_reached_on"]:
        on = date.fromisoformat(forecast["limit_reached_on"])
        assert f"{on.day} {on:%B %Y}" in words


@pytest.mark.parametrize("slug", EVERYBODY)
def test_each_saving_is_that_of_what_if(opened: Open, site: Site, slug: str):
    shown = numbers(opened(site.page(slug, "less")))

    def what_if(**change: str) -> dict[str, int]:
        found: dict[str, int] = site.api(slug, "usage/what-if", **change)
        return found

    assert shown["used"] == what_if(without_connection=everything(site, slug, "connections")[0]["key"])["used"]
    savings = {name.partition(".")[2]: number for name, number in shown.items() if name.startswith("what_if.")}
    for name, number in savings.items():
        match name.split(".", 1):
            case ["without", key]:
                assert number == what_if(without_connection=key)["saved"]
            case ["expiry", days]:
                assert number == what_if(score_expiry_days=days)["saved"]
            case ["sends"]:
                legacy = site.api(slug, "usage")["unit"] == "app_connector_events"
                answer = what_if(without_reason="engagement.email_sent" if legacy else "email_sent")
                assert (number, savings["sends.would_be"]) == (answer["saved"], answer["would_be"])
    if "refused" in shown:
        assert shown["refused"] == len(everything(site, slug, "usage/contacts", refused="true"))


@pytest.mark.parametrize("slug", EVERYBODY)
def test_each_status_page_has_the_numbers_of_its_connection_and_days(opened: Open, site: Site, slug: str):
    last = datetime.now(UTC).date() - timedelta(days=1)
    days = {"from_": str(last - timedelta(days=40)), "to": str(last)}
    for link in everything(site, slug, "connections"):
        page = opened(site.page(slug, f"connections/{link['key']}", **days))
        shown, api = numbers(page), site.api(slug, f"connections/{link['key']}/status", **days)
        assert shown == {
            "contact_events": api["contact_events"],
            "engagement_events": api["engagement_events"],
            **{f"by_type.{name}": number for name, number in api["by_type"].items()},
        }
        assert [row[1:] for row in rows(page, "Events day by day")] == [
            [f"{row['contact_events']:,}", f"{row['engagement_events']:,}"] for row in api["daily"]
        ]


@pytest.mark.parametrize("slug", EVERYBODY)
def test_the_connections_have_the_numbers_of_usage(opened: Open, site: Site, slug: str):
    shown = numbers(opened(site.page(slug, "connections")))

    counted = {
        row["connection"]: row.get("contacts", row.get("events")) for row in site.api(slug, "usage")["by_connection"]
    }
    links = everything(site, slug, "connections")
    assert shown == {f"by_connection.{link['key']}": counted.get(link["key"], 0) for link in links}


@pytest.mark.parametrize("slug", EVERYBODY)
def test_the_periods_have_the_numbers_of_the_history(opened: Open, site: Site, slug: str):
    page = opened(site.page(slug, "periods"))

    expected: dict[str, int] = {}
    periods = everything(site, slug, "usage/periods")
    for row in periods:
        names = ["used", *(["limit"] if row["limit"] is not None else [])]
        names += ["carried_in", "new"] if row["unit"] == "active_contacts" else []
        expected |= {f"{row['start']}.{name}": row[name] for name in names}
    assert numbers(page) == expected
    assert page.locator("li > .code").all_inner_texts() == [row["checksum"] for row in periods if row["checksum"]]


@pytest.mark.parametrize("slug", EVERYBODY)
def test_the_contacts_are_those_of_the_api_in_its_order(opened: Open, site: Site, slug: str):
    shown = rows(opened(site.page(slug, "contacts")), "Counted contacts")

    api = site.api(slug, "usage/contacts", page_size="50")["results"]
    assert [row[0].split(" refused since")[0].strip() for row in shown] == [row["subject"] for row in api]


@pytest.mark.parametrize("slug", EVERYBODY)
def test_mails_gaps_and_what_is_held_are_those_of_the_api(opened: Open, site: Site, slug: str):
    for path, caption in (
        ("notifications", "Mails, the newest first"),
        ("gaps", "Data that was lost, the newest first"),
        ("held", "Held events in the order of their replay"),
    ):
        shown, api = rows(opened(site.page(slug, path)), caption), site.api(slug, path, page_size="50")["results"]
        assert len(shown) == len(api)
        if path == "gaps":
            assert [row[4] for row in shown] == [f"{row['events']:,}" for row in api]
        if path == "held":
            assert [row[2] for row in shown] == [row["subject"] for row in api]


# --- It is fit to be seen ---

CONTRAST = """() => {
    const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return {r, g, b, a}; };
    const linear = (each) => each / 255 <= 0.03928 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4;
    const light = ({r, g, b}) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (each) => { for (let at = each; at; at = at.parentElement) {
        const colour = parse(getComputedStyle(at).backgroundColor); if (colour.a > 0) return colour; }
        return {r: 255, g: 255, b: 255, a: 1}; };
    const own = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const shown = (each) => each.getClientRects().length && !each.closest('.hidden, .skip, title');
    return [...document.body.querySelectorAll('*')].filter((each) => own(each) && shown(each)).flatMap((each) => {
        const style = getComputedStyle(each), colour = parse(each.closest('svg') ? style.fill : style.color);
        const [a, b] = [light(colour), light(behind(each))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
        return ratio < 4.5 ? [`${ratio.toFixed(2)} ${each.tagName} ${each.textContent.trim().slice(0, 30)}`] : [];
    });
}"""


@pytest.mark.parametrize("path", [*PATHS, "contacts/why?subject=m1@example.com", "connections/sync"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_no_page_scrolls_sideways_and_all_text_stands_out_in_light_and_dark(
    opened: Open, site: Site, path: str, width: int
):
    path, _, subject = path.partition("?subject=")
    asked = {"subject": subject} if subject else {}
    for scheme in ("light", "dark"):
        page = opened(site.page(LONG, path, **asked), width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("slug", EVERYBODY)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_overview_of_every_account_fits(opened: Open, site: Site, slug: str, width: int):
    page = opened(site.page(slug), width=width, scheme="dark")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CONTRAST) == []


def test_with_the_keyboard_the_first_step_leads_past_the_menu(opened: Open, site: Site):
    page = opened(site.page("quarry-tools"))

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_forms_keep_the_link_and_lead_where_they_say(opened: Open, site: Site):
    page = opened(site.page(LONG, "contacts"))

    page.get_by_label("Refused by the destination").select_option("true")
    page.get_by_role("button", name="Show").click()
    assert len(rows(page, "Counted contacts")) == 3
    page.get_by_label("Why does somebody count?").fill("M2@example.com")
    page.get_by_role("button", name="Find").click()
    assert page.get_by_role("heading", level=1).inner_text() == "m2@example.com"
    page.get_by_role("link", name="Connections", exact=True).click()
    page.get_by_role("link", name="W" * 200).click()
    page.get_by_label("From").fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-31")
    page.get_by_role("button", name="Show").click()
    assert "1 January 2026 to 31 January 2026" in page.locator("main").inner_text()


def test_a_page_that_is_refused_is_a_page(opened: Open, site: Site):
    page = opened(f"{site.address}usage/?token=nonsense", status=403)

    assert page.get_by_role("heading", level=1).inner_text() == "This link is not valid"


@pytest.mark.skipif(not SCREENSHOTS, reason="only when asked for: SCREENSHOTS=1")
@pytest.mark.parametrize(
    ("name", "slug", "path", "width", "height", "scheme"),
    [
        ("usage", "meridian-events", "", DESKTOP, 1350, "light"),
        ("usage-dark", "meridian-events", "", DESKTOP, 1350, "dark"),
        ("usage-paused-phone", "ateliers-lumiere", "", PHONE, 2600, "light"),
        ("usage-events-phone-dark", "orchard-press", "", PHONE, 2600, "dark"),
        ("usage-activated", "clinica-mirador", "", DESKTOP, 1350, "light"),
        ("usage-less", "meridian-events", "less", DESKTOP, 1500, "light"),
        ("usage-status", "ateliers-lumiere", "connections/newsletter", DESKTOP, 1500, "dark"),
        ("usage-contacts", "meridian-events", "contacts", DESKTOP, 850, "light"),
    ],
)
def test_pictures(opened: Open, site: Site, name: str, slug: str, path: str, width: int, height: int, scheme: str):
    page = opened(site.page(slug, path), width=width, scheme=scheme)
    shown = min(page.evaluate("document.documentElement.scrollHeight"), height)

    picture = ROOT / "docs" / "screenshots" / f"{name}.png"
    page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": width, "height": shown}, full_page=True)

    assert picture.stat().st_size < 200_000
