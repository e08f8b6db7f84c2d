"""What mails say: the facts, all of them, in both parts alike; and nothing that a name could smuggle in."""

import re
import subprocess
import sys
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from notifications import render
from notifications.blocks import Button, Figure, Listing, Message, Paragraph
from notifications.compose import compose
from notifications.facts import Facts, Link, Source, TierFacts
from notifications.models import Kind
from notifications.words import UNITS as WORDS
from tests.notifications.facts import ACTIONS, GROWTH, KINDS, SCALE, STARTER, SYNC, UNITS, WEB, WHYS, facts

URL = "https://billing.example.com/usage/?token=a.b&c=d"
SUPPORT = "support@example.com"
PER_CENT = re.compile(r"%|per\s?cent", re.IGNORECASE)
RESET = "1 December 2026, 00:00 (Europe/Berlin)"


def write(
    kind: str, about: Facts | None = None, *, name: str = "Acme Ltd", percent: int | None = None, staff: bool = False
) -> Message:
    """A mail to Acme, about the usual facts unless told otherwise."""
    if kind == Kind.THRESHOLD:
        percent = percent or 80
    return compose(
        kind,
        percent,
        about or facts(),
        account_name=name,
        account_slug="acme",
        usage_url=URL,
        support_email=SUPPORT,
        staff=staff,
    )


def said(kind: str, about: Facts | None = None, **how: Any) -> str:
    """The text part on one line, after a check that the HTML part says the same, word for word."""
    message = write(kind, about, **how)
    assert words_of_html(render.html(message)) == words_of_text(render.text(message))
    return " ".join(words_of_text(render.text(message)))


def words_of_text(text: str) -> list[str]:
    """Without what is drawn with characters: lines under titles, bars, the marks of items."""
    drawn = re.sub(r"^(-+|\[#*\.*\])$|^- ", "", text, flags=re.MULTILINE)
    return drawn.split()


def words_of_html(html: str) -> list[str]:
    """What a reader sees, with addresses after the labels of links; without the hidden preheader."""
    body = html.partition("<body")[2].partition(">")[2]
    body = re.sub(r'<div style="display:none.*?</div>', "", body, flags=re.DOTALL)
    body = re.sub(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', r"\2: \1", body)
    return unescape(re.sub(r"<[^>]+>", " ", body)).replace("\xa0", " ").split()


@pytest.mark.parametrize("staff", [False, True])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_tells_the_count_the_limit_the_account_and_where_to_look(kind: str, unit: str, staff: bool):
    text = said(kind, facts(unit=unit), staff=staff)

    assert f"812 of 1,000 {UNITS[unit]} (81 %)" in text
    assert "Acme Ltd" in text
    assert URL in text
    assert RESET in text or kind in ("trial_ended", "downgrade_lapsed")


@pytest.mark.parametrize("kind", KINDS)
def test_customers_learn_whom_to_ask_and_staff_which_account_it_is(kind: str):
    assert SUPPORT in said(kind)
    assert "Acme Ltd (acme)" in said(kind, staff=True)
    assert write(kind, staff=True).subject.startswith("[acme] ")


@pytest.mark.parametrize("percent", [80, 100])
def test_a_threshold_stands_in_the_subject_exactly_once(percent: int):
    subject = write("threshold", percent=percent).subject

    assert subject == f"Acme Ltd has used {percent} % of its limit of 1,000 active contacts"


@pytest.mark.parametrize("name", ["100 % Bio", "Fifty Per Cent Ltd", "50percent", "٪ ％"])
@pytest.mark.parametrize("staff", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_other_subject_says_per_cent_whatever_the_account_is_called(kind: str, staff: bool, name: str):
    subject = write(kind, facts(percents=[80, 100]), staff=staff, name=name).subject

    assert len(PER_CENT.findall(subject)) == (1 if kind == "threshold" else 0)
    assert name not in subject


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("why", WHYS)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("used", [812, 1_000, 1_203])
@pytest.mark.parametrize("next_tier", [GROWTH, SCALE, None])
def test_a_threshold_mail_is_whole_for_every_policy(
    unit: str, action: str, why: str, used: int, next_tier: TierFacts | None
):
    text = said("threshold", facts(unit=unit, action=action, why=why, used=used, next_tier=next_tier))

    assert f"{used:,} of 1,000 {UNITS[unit]} ({used // 10} %)" in text
    assert f"resets on {RESET}" in text
    assert f"The 1,000th {WORDS[unit].one} {'was still' if used >= 1_000 else 'will still be'} counted." in text
    assert f"The {WORDS[unit].next_one} after it" in text or "From the" in text or "After it," in text
    assert "Why: " in text
    assert f"Pipedrive to Mailchimp: 640 {UNITS[unit]} " in text
    assert "How to reduce the count" in text
    assert ("The next tier is" in text) == (next_tier is not None)


def test_a_threshold_mail_names_what_cannot_be_replayed():
    text = said("threshold", facts(links=[SYNC, WEB, Link("bot", "Chat", replayable=False)]))

    assert "cannot be replayed later, so stopping would lose it: Website and Chat." in text
    assert "These can be replayed: Pipedrive to Mailchimp." in text
    assert "moves the account up to growth (2,500 active contacts, EUR 99.00 per billing period) by itself" in text


def test_it_says_so_when_all_can_be_replayed():
    text = said("threshold", facts(action="hold", links=[SYNC]))

    assert "all enabled connections can be replayed later, so nothing is lost: Pipedrive to Mailchimp." in text
    assert "replayed, oldest first, when the next billing period begins or after an upgrade" in text


def test_who_opted_out_is_told_what_will_be_lost():
    text = said("threshold", facts(action="pause", why="opted_out"))

    assert "automatic upgrades are switched off for this account" in text
    assert "data will be dropped, and it cannot be brought back" in text
    assert "brought back: all that comes from Pipedrive to Mailchimp and Website." in text


def test_a_trial_is_told_that_it_pauses_because_it_is_one():
    text = said("threshold", facts(action="pause", why="trial", tier=TierFacts("trial", 1_000, Decimal(0))))

    assert "pauses the account: contact sync, engagement sync, web tracking, lead scoring and automations stop." in text
    assert "the account is on a trial, trial (1,000 active contacts), and a trial pauses at its limit" in text


@pytest.mark.parametrize("why", ["plan", "account"])
def test_with_limit_new_only_new_contacts_are_not_served(why: str):
    text = said("threshold", facts(unit="activated_contacts", action="limit_new", why=why))

    assert "new contacts are not served" in text
    assert "Contacts that are counted already are served as before." in text


def test_the_top_tier_suggests_no_upgrade():
    text = said("threshold", facts(next_tier=None, used=1_000), percent=100)

    assert "there is no higher tier to move up to, so nothing stops" in text
    assert "The next tier" not in text
    assert "move up" not in text.replace("to move up to, so nothing stops", "")


def test_a_tier_with_less_room_than_the_account_has_is_not_suggested():
    text = said("threshold", facts(limit=5_000, used=4_000))

    assert "The next tier is" not in text


def test_the_80_percent_mail_of_a_jump_says_that_the_count_is_above_the_limit():
    text = said("threshold", facts(used=1_203))

    assert "The count has gone above the limit already, to 1,203." in text
    assert "(120 %)" in text


def test_the_advice_for_active_contacts_is_what_the_help_pages_say():
    text = said("threshold")

    for advice in ("actively marketing to", "refuses", "recording of e-mail sends", "shorten the score expiry"):
        assert advice in text
    assert f"A contact that is counted stays counted until the period ends on {RESET}" in text
    assert "the count goes down with the next period" in text


def test_units_differ_in_their_advice():
    texts = {said("threshold", facts(unit=unit)).partition("How to reduce")[2] for unit in UNITS}

    assert len(texts) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", UNITS)
def test_an_account_without_limit_or_anything_else_can_be_written_to(kind: str, unit: str):
    bare = Facts(
        unit=unit,
        plan="connect",
        tier=SCALE,
        used=1,
        limit=None,
        timezone="No/Such_Zone",
        resets_at=facts().resets_at,
        action="none",
        why="plan",
    )

    text = said(kind, bare)

    assert f"1 {WORDS[unit].one}, no limit" in text
    assert "None" not in text


@pytest.mark.parametrize("reason", ["limit_reached", "paused_by_staff", "new_period", "upgrade", "resume", "else", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_no_mail_shows_its_seams(kind: str, reason: str):
    for action in ACTIONS:
        for events in (0, 1, 2_000):
            message = write(kind, facts(reason=reason, action=action, events=events))
            for sentence in sentences(message):
                assert not re.search(r"None|[{}]|  |\.\.|\( | [.,)]|^ | $", sentence), sentence
                assert re.search(r"[.:%)]$|[a-z]$", sentence)


def sentences(message: Message) -> list[str]:
    """All that the blocks say but addresses."""
    found = [message.subject, message.preheader]
    for block in message.blocks:
        match block:
            case Paragraph(text=text, title=title):
                found += [title, text]
            case Listing(title=title, items=items, after=after):
                found += [title, *items, after]
            case Button(label=label):
                found.append(label)
            case Figure(line=line):
                found.append(line)
    return [each for each in found if each]


def test_an_upgrade_by_the_limit_tells_from_where_to_where_why_and_how_back():
    upgraded = facts(
        tier=GROWTH, limit=2_500, used=2_100, reason="limit_reached", exceeded=1_000, percents=[80], next_tier=SCALE
    )

    text = said("upgraded", upgraded)

    assert "from starter (1,000 active contacts) to growth (2,500 active contacts) on 22 November 2026, 12:00" in text
    assert "The price is now EUR 99.00 per billing period (before: EUR 49.00)." in text
    assert "The limit of 1,000 active contacts was reached" in text
    assert "cannot be replayed later: Website." in text
    assert "Counting goes on without a break." in text
    assert "Of the new limit, 80 % is reached already" in text
    assert "go down to a smaller tier with the next billing period" in text
    assert "we can switch that off" in text
    assert "cannot be replayed later" in text.partition("we can switch that off")[2]


def test_an_upgrade_by_staff_says_who_did_it():
    text = said("upgraded", facts(reason="by_staff"))

    assert "Our team made this change." in text
    assert "was reached, and" not in text


def test_a_pause_at_the_limit_tells_what_stops_what_is_lost_and_how_it_ends():
    text = said("paused", facts(action="pause", why="opted_out", reason="limit_reached", used=1_000))

    assert "Contact sync, engagement sync, web tracking, lead scoring and automations have stopped" in text
    assert "is dropped. That leaves gaps, and what was dropped cannot be replayed later." in text
    assert f"By itself: when the next billing period begins, on {RESET}." in text
    assert "move up to growth" in text
    assert "switch automatic upgrades on again" in text


def test_a_pause_by_staff_has_no_end_of_its_own():
    text = said("paused", facts(reason="paused_by_staff"))

    assert "Our team paused Acme Ltd on 22 November 2026" in text
    assert "neither a new billing period nor an upgrade ends it" in text
    assert "By itself" not in text


def test_held_data_is_safe_for_90_days():
    text = said("held", facts(action="hold", links=[SYNC], used=1_000))

    assert "So far it is 1,234 events." in text
    assert "Everything else flows on as before." in text
    assert f"replayed, oldest first, when the next billing period begins, on {RESET}, or after an upgrade" in text
    assert "held for 90 days is given up" in text


def test_what_is_given_up_soon_is_told_with_its_number_and_day():
    text = said("giving_up_soon", facts(action="hold"))

    assert "1,234 events are held" in text
    assert "24 December 2026, 12:30 (Europe/Berlin)" in text
    assert "Move up to growth" in text


def test_one_event_is_one_event():
    assert "1 event is held" in said("giving_up_soon", facts(events=1))
    assert "1 event is still held, and counted when there is room." in said("resumed", facts(events=1))
    assert "Nothing is held any more." in said("resumed", facts(events=0))


@pytest.mark.parametrize(
    ("reason", "because"),
    [
        ("new_period", "A new billing period has begun."),
        ("upgrade", "moved up to starter"),
        ("settings", "settings were changed"),
        ("resume", "Our team has resumed the account."),
    ],
)
def test_who_is_resumed_is_told_why(reason: str, because: str):
    text = said("resumed", facts(reason=reason))

    assert because in text
    assert "1,234 events are still held, and counted when there is room." in text


def test_a_trial_that_ended_keeps_its_count():
    text = said("trial_ended")

    assert "paused until it is upgraded" in text
    assert "everything goes on from 812 active contacts" in text
    assert "The next tier is growth" in text


@pytest.mark.parametrize("staff", [False, True])
def test_a_lapsed_downgrade_is_told_to_all(staff: bool):
    text = said(
        "downgrade_lapsed", facts(tier=GROWTH, limit=2_500, used=1_204, before=STARTER, next_tier=SCALE), staff=staff
    )

    assert "was to go down to starter (1,000 active contacts)" in text
    assert "1,204 active contacts were carried into it" in text
    assert "stays on growth" in text


def test_staff_are_asked_to_talk_to_who_is_over_the_top_tier():
    text = said("over_top_tier", facts(used=1_500, next_tier=None), staff=True)

    assert "Acme Ltd (acme)" in text
    assert "has used 1,500 active contacts" in text
    assert "starter (1,000 active contacts" in text
    assert "Counting goes on" in text
    assert "Please talk to the customer" in text


def test_opting_out_is_confirmed_with_what_it_will_cost():
    text = said("opted_out", facts(action="pause", why="opted_out"))

    assert "Automatic upgrades were switched off for Acme Ltd" in text
    assert "cannot be brought back: all that comes from Pipedrive to Mailchimp and Website." in text
    assert "switch automatic upgrades on again" in text


HOSTILE = '<script>alert("1")</script>\r\nBcc: all@example.com\u202e\x00\u2028 & Söhne 🦊'


@pytest.mark.parametrize("staff", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_name_is_only_a_name(kind: str, staff: bool):
    about = facts(
        links=[Link("x", HOSTILE, replayable=False)],
        sources=[Source("x", HOSTILE, 3)],
        plan=HOSTILE,
        tier=TierFacts(HOSTILE, 1_000, Decimal(1)),
        next_tier=TierFacts(HOSTILE, 2_000, Decimal(1)),
    )

    message = write(kind, about, name=HOSTILE, staff=staff)
    text, html = render.text(message), render.html(message)

    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert words_of_html(html) == words_of_text(text)
    assert not any(character in message.subject + text + html for character in "\r\x00\u2028\u202e")
    assert "\n" not in message.subject
    assert "& Söhne 🦊" in text.replace("\n", " ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_name_is_cut(kind: str):
    message = write(kind, name="Wort" * 500)

    assert len(message.subject) < 130
    assert "…" in message.subject
    assert "Wort" * 21 not in render.html(message)


@pytest.mark.parametrize("name", ["", " \r\n\t", "\u200b"])
def test_an_account_without_a_name_goes_by_its_slug(name: str):
    assert write("paused", name=name).subject == "Acme is paused, and data is being dropped"


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_text_part_are_short(kind: str):
    assert all(len(line) <= 72 or "https://" in line for line in render.text(write(kind)).splitlines())


@pytest.mark.parametrize("kind", KINDS)
def test_the_html_part_loads_nothing_from_anywhere(kind: str):
    html = render.html(write(kind))

    assert re.findall(r"https?://[^\"'\s)<]+", html) == [URL.replace("&", "&amp;")]
    assert not re.search(r"<img|<link|<script|url\(|@import|src=", html)
    assert "prefers-color-scheme: dark" in html


def test_a_threshold_mail_without_a_threshold_is_a_mistake():
    with pytest.raises(ValueError, match="needs the threshold"):
        compose("threshold", None, facts(), account_name="A", usage_url=URL, support_email=SUPPORT)


def test_a_kind_that_nobody_wrote_a_mail_for_is_a_mistake():
    with pytest.raises(KeyError):
        compose("nonsense", None, facts(), account_name="A", usage_url=URL, support_email=SUPPORT)


def test_what_mails_say_is_decided_without_django():
    program = "import sys, notifications.compose; sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2])

    assert done.returncode == 0
