"""What each mail says: from a kind and the facts of the moment to blocks of text. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from notifications.advice import how_to_reduce
from notifications.at_limit import LOST, WHAT_STOPS, all_links, irreplaceable, what_happens
from notifications.blocks import Block, Button, Figure, Listing, Message, Paragraph
from notifications.facts import Facts, TierFacts
from notifications.words import UNITS, Unit, events, listed, moment, money, offer, plain, tier

LONGEST_NAME_IN_SUBJECT: Final = 60

_PER_CENT = re.compile(r"[%‰٪﹪％]|per\s?cent", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Mail:
    """Who and what a mail is about."""

    facts: Facts
    percent: int | None
    name: str  # of the account, as it may stand in a text
    slug: str
    staff: bool
    support: str

    @property
    def unit(self) -> Unit:
        return UNITS[self.facts.unit]

    @property
    def resets(self) -> str:
        return moment(self.facts.resets_at, self.facts.timezone)

    @property
    def when(self) -> str:
        """` on 1 December 2026, 00:00 (UTC)`, if it is known."""
        return f" on {moment(self.facts.at, self.facts.timezone)}" if self.facts.at else ""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a kind says: the subject (with `{name}` for the account) and what stands above the link to usage."""

    subject: str
    blocks: tuple[Block, ...]


def compose(
    kind: str,
    percent: int | None,
    facts: Facts,
    *,
    account_name: str,
    usage_url: str,
    support_email: str,
    account_slug: str = "",
    staff: bool = False,
) -> Message:
    """The mail of a kind (`models.Kind`). `percent` is the threshold that was crossed, for the kind `threshold`.

    With `staff` it is for our own people: it names the account and its slug, and the link may lead elsewhere. A kind
    or unit that is not known is a KeyError, a threshold mail without its threshold a ValueError.
    """
    name = plain(account_name) or account_slug or "your account"
    mail = _Mail(facts, percent, name, account_slug, staff, support_email)
    said = _KINDS[kind](mail)
    link = Button("Open the account" if staff else "See your usage", usage_url)
    blocks = (*_for_staff(mail, kind), *said.blocks, link, _closing(mail))
    return Message(_subject(said.subject, account_name, mail), _preheader(mail), blocks)


def _subject(form: str, account_name: str, mail: _Mail) -> str:
    """One line; only a threshold mail says per cent, so a name that does (`100 % Bio`) is left out."""
    name = plain(account_name, LONGEST_NAME_IN_SUBJECT) or mail.slug
    if not name or _PER_CENT.search(name):
        name = "the account" if mail.staff else "your account"
    subject = form.format(name=name)
    return f"[{mail.slug}] {subject}" if mail.staff else _capital(subject)


def _preheader(mail: _Mail) -> str:
    return f"{_count(mail)}. The count resets on {mail.resets}."


def _for_staff(mail: _Mail, kind: str) -> tuple[Block, ...]:
    if not mail.staff:
        return ()
    copied = "" if kind in _WRITTEN_FOR_STAFF else " The customer is told what follows."
    return (Paragraph(f"Account: {mail.name} ({mail.slug}), plan {plain(mail.facts.plan)}.{copied}"),)


def _closing(mail: _Mail) -> Block:
    if mail.staff:
        return Paragraph("This mail was sent by Headcount to the support address.")
    return Paragraph(f"Questions? Reply to this e-mail or write to {mail.support}, and we will help.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# The pieces that several mails share.


def _count(mail: _Mail) -> str:
    facts, unit = mail.facts, mail.unit
    if facts.limit is None:
        return f"{unit.count(facts.used)}, no limit"
    return f"{facts.used:,} of {unit.count(facts.limit)} ({_of_limit(facts)} %)"


def _of_limit(facts: Facts) -> int:
    return 100 * facts.used // facts.limit if facts.limit else 0


def _figure(mail: _Mail) -> Figure:
    return Figure(_count(mail), None if mail.facts.limit is None else _of_limit(mail.facts))


def _reset(mail: _Mail) -> Paragraph:
    again = ""
    if mail.facts.unit == "active_contacts":
        again = " Contacts that are in a contact sync or have a live lead score by then count again at once."
    return Paragraph(f"The count resets on {mail.resets}.{again}")


def _sources(mail: _Mail) -> tuple[Block, ...]:
    sources = mail.facts.sources[:3]
    if not sources:
        return ()
    items = tuple(f"{plain(source.name or source.key)}: {mail.unit.count(source.count)}" for source in sources)
    overlap = "A contact can come from several connections." if mail.unit.overlap and len(items) > 1 else ""
    return (Listing("Where most of it comes from", items, overlap),)


def _roomier(facts: Facts) -> TierFacts | None:
    """The next tier, if moving there helps: with a limit of its own an account may have more already."""
    following = facts.next_tier
    if following is None or facts.limit is None:
        return None
    return following if following.limit is None or following.limit > facts.limit else None


def _upgrade(mail: _Mail, title: str = "If you need more") -> tuple[Block, ...]:
    following = _roomier(mail.facts)
    if following is None:
        return ()
    facts = mail.facts
    earlier = " earlier" if facts.action == "upgrade" and facts.limit and facts.used < facts.limit else ""
    text = f"The next tier is {offer(following, mail.unit)}. To move up{earlier}, reply to this e-mail."
    return (Paragraph(text, title),)


def _no_upgrade_please(mail: _Mail) -> tuple[Block, ...]:
    """What opting out costs, for those who would be upgraded."""
    if mail.facts.action != "upgrade" or mail.facts.next_tier is None:
        return ()
    return (
        Paragraph(
            f"If you would rather not be upgraded automatically, tell us, and we will switch it off. At the limit, "
            f"{WHAT_STOPS} then stop instead. {LOST}",
            "If you do not want to be upgraded",
        ),
    )


# The kinds.


def _threshold(mail: _Mail) -> _Said:
    facts, unit = mail.facts, mail.unit
    if mail.percent is None:
        raise ValueError("a mail about a threshold needs the threshold")
    limit = unit.many if facts.limit is None else unit.count(facts.limit)
    first = (
        f"{mail.name} has reached its limit of {limit} in this billing period."
        if mail.percent >= 100
        else f"{mail.name} has used {mail.percent} % of its limit of {limit} in this billing period."
    )
    if facts.limit is not None and facts.used > facts.limit:
        first += f" The count has gone above the limit already, to {facts.used:,}."
    return _Said(
        f"{{name}} has used {mail.percent} % of its limit of {limit}",
        (
            Paragraph(f"{first} Below is what happens next, and what you can do."),
            _figure(mail),
            _reset(mail),
            *what_happens(facts),
            *_sources(mail),
            how_to_reduce(facts),
            *_upgrade(mail),
            *_no_upgrade_please(mail),
        ),
    )


def _upgraded(mail: _Mail) -> _Said:
    facts, unit = mail.facts, mail.unit
    before = facts.before
    came_from = f"from {tier(before, unit)} " if before else ""
    earlier = f" (before: {money(before.price)})" if before else ""
    return _Said(
        "{name} has been upgraded",
        (
            Paragraph(
                f"{mail.name} was moved up {came_from}to {tier(facts.tier, unit)}{mail.when}. The price is now "
                f"{money(facts.tier.price)} per billing period{earlier}."
            ),
            _figure(mail),
            Paragraph(_why_upgraded(mail), "Why"),
            Paragraph(f"Counting goes on without a break.{_reached_already(mail)} The count resets on {mail.resets}."),
            *what_happens(facts),
            Listing("How to go back", _ways_back(facts)),
            how_to_reduce(facts),
        ),
    )


def _ways_back(facts: Facts) -> tuple[str, ...]:
    down = (
        "You can go down to a smaller tier with the next billing period, if its limit is enough for what you have used "
        "by then and for what is carried into the period. Reply to this e-mail."
    )
    if facts.action != "upgrade":
        return (down,)  # nothing upgrades this account by itself
    off = (
        f"If you do not want to be upgraded automatically, we can switch that off. At the limit, {WHAT_STOPS} then "
        f"stop instead. {LOST}"
    )
    return (down, off)


def _why_upgraded(mail: _Mail) -> str:
    facts = mail.facts
    if facts.reason != "limit_reached":
        return "Our team made this change."
    lost = irreplaceable(facts)
    limit = "The limit" if facts.exceeded is None else f"The limit of {mail.unit.count(facts.exceeded)}"
    if lost and facts.why == "replayability":
        return (
            f"{limit} was reached, and what these connections send cannot be replayed later: {listed(lost)}. Without "
            "the upgrade it would have been lost."
        )
    rule = "how the account was set up" if facts.why == "account" else f"the rule of the plan, {plain(facts.plan)}"
    return f"{limit} was reached, and moving up is {rule}."


def _reached_already(mail: _Mail) -> str:
    marks = mail.facts.percents
    if not marks:
        return ""
    named = " and ".join(f"{mark} %" for mark in marks)
    are = "is" if len(marks) == 1 else "are"
    return f" Of the new limit, {named} {are} reached already; no other e-mail will tell you so."


def _paused(mail: _Mail) -> _Said:
    facts = mail.facts
    by_staff = facts.reason == "paused_by_staff"
    first = (
        f"Our team paused {mail.name}{mail.when}."
        if by_staff
        else f"{mail.name} has reached its limit and was paused{mail.when}."
    )
    return _Said(
        "{name} is paused, and data is being dropped",
        (
            Paragraph(first),
            _figure(mail),
            Paragraph(f"{_capital(WHAT_STOPS)} have stopped until the pause ends. {LOST}", "What has stopped"),
            *_links(mail, "Connections that this concerns"),
            _end_of_pause(mail, by_staff=by_staff),
        ),
    )


def _end_of_pause(mail: _Mail, *, by_staff: bool) -> Block:
    title = "How to end the pause"
    if by_staff:
        return Paragraph(
            "This pause has no end of its own: neither a new billing period nor an upgrade ends it. Reply to this "
            "e-mail, and we will talk about it.",
            title,
        )
    following = _roomier(mail.facts)
    move = (f"At once: move up to {offer(following, mail.unit)}. Reply to this e-mail.",) if following else ()
    switch = ("We can also switch automatic upgrades on again.",) if mail.facts.why == "opted_out" else ()
    wait = f"By itself: when the next billing period begins, on {mail.resets}."
    return Listing(title, (*move, wait, *switch))


def _links(mail: _Mail, title: str) -> tuple[Block, ...]:
    links = all_links(mail.facts)
    return (Paragraph(f"{listed(links)}.", title),) if links else ()


def _held(mail: _Mail) -> _Said:
    facts = mail.facts
    so_far = f" So far it is {events(facts.events)}." if facts.events else ""
    limit = "its limit" if facts.limit is None else f"its limit of {mail.unit.count(facts.limit)}"
    return _Said(
        "{name} has reached its limit, and new data is held",
        (
            Paragraph(
                f"{mail.name} has reached {limit}. Since{mail.when.removeprefix(' on') or ' then'}, what would raise "
                f"the count is held.{so_far} Nothing is lost."
            ),
            _figure(mail),
            Listing(
                "What this means",
                (
                    "Held: everything that would raise the count.",
                    "Everything else flows on as before.",
                    "What is held is replayed, oldest first, when the next billing period begins, on "
                    f"{mail.resets}, or after an upgrade, as far as the limit then allows.",
                    "What has been held for 90 days is given up. We will write to you a week before.",
                ),
            ),
            *what_happens(facts)[1:],
            *_sources(mail),
            how_to_reduce(facts),
            *_upgrade(mail),
        ),
    )


def _giving_up_soon(mail: _Mail) -> _Said:
    facts = mail.facts
    first = f"on {moment(facts.until, facts.timezone)}" if facts.until else "soon"
    following = _roomier(facts)
    move = (f"Move up to {offer(following, mail.unit)}: reply to this e-mail.",) if following else ()
    return _Said(
        "{name}: held data will be given up soon",
        (
            Paragraph(
                f"{mail.name} is at its limit, and {events(facts.events)} {'is' if facts.events == 1 else 'are'} held. "
                f"What has been held for 90 days is given up, and the first of it will be {first}. What is given up "
                "leaves a gap and does not come back."
            ),
            _figure(mail),
            Listing(
                "What you can do",
                (
                    *move,
                    "Bring the count down before the next billing period (see below): what is held is replayed when "
                    f"it begins, on {mail.resets}, as far as the limit allows.",
                    f"Or write to {mail.support}, and we will find a way together.",
                ),
            ),
            how_to_reduce(facts),
        ),
    )


_RESUMED_BECAUSE: Final = {
    "new_period": "A new billing period has begun.",
    "upgrade": "The account was moved up to {tier}.",
    "settings": "The account's settings were changed.",
    "resume": "Our team has resumed the account.",
    "replayed": "",
    "count_fell": "The count has fallen below the limit.",
    "void": "An event was taken back, and the count has fallen below the limit.",
}


def _resumed(mail: _Mail) -> _Said:
    facts = mail.facts
    because = _RESUMED_BECAUSE.get(facts.reason, "").replace("{tier}", tier(facts.tier, mail.unit))
    because = f" {because}" if because else ""
    held = (
        f"{events(facts.events)} {'is' if facts.events == 1 else 'are'} still held, and counted when there is room."
        if facts.events
        else "Nothing is held any more."
    )
    return _Said(
        "{name} is running again",
        (
            Paragraph(f"{mail.name} was resumed{mail.when}.{because}"),
            _figure(mail),
            Paragraph(f"{held} Data that was dropped during a pause does not come back; your usage shows the gaps."),
            *what_happens(facts),
            _reset(mail),
        ),
    )


def _trial_ended(mail: _Mail) -> _Said:
    facts = mail.facts
    return _Said(
        "The trial of {name} has ended",
        (
            Paragraph(f"The trial of {mail.name} ended{mail.when}. The account is paused until it is upgraded."),
            _figure(mail),
            Paragraph(f"{_capital(WHAT_STOPS)} have stopped until then. {LOST}", "What has stopped"),
            *_links(mail, "Connections that this concerns"),
            Paragraph(
                "The count and the billing period are kept: after an upgrade everything goes on from "
                f"{mail.unit.count(facts.used)}. A new billing period alone does not end the pause.",
                "What is kept",
            ),
            *_upgrade(mail, "How to go on"),
        ),
    )


def _downgrade_lapsed(mail: _Mail) -> _Said:
    facts, unit = mail.facts, mail.unit
    asked = tier(facts.before, unit) if facts.before else "a smaller tier"
    stays = "The account stays on" if mail.staff else "Your account stays on"
    retry = (
        "Nothing was changed and nothing stops. The customer was told the same."
        if mail.staff
        else "Nothing stops. Once the count is low enough, reply to this e-mail and we will set the downgrade up again."
    )
    return _Said(
        "{name}: the downgrade did not take place",
        (
            Paragraph(
                f"{mail.name} was to go down to {asked} with the new billing period. When it began, "
                f"{unit.count(facts.used)} {'was' if facts.used == 1 else 'were'} carried into it, more than that tier "
                f"allows, so the downgrade lapsed. {stays} {offer(facts.tier, unit)}."
            ),
            _figure(mail),
            Paragraph(retry),
            *_sources(mail),
            *(() if mail.staff else (how_to_reduce(facts),)),
        ),
    )


def _over_top_tier(mail: _Mail) -> _Said:
    facts, unit = mail.facts, mail.unit
    if mail.staff:
        todo = "Please talk to the customer about what fits: a limit of their own, another plan, or a smaller count."
    else:
        todo = "We will get in touch with you about what fits."
    return _Said(
        "{name} is above the highest tier",
        (
            Paragraph(
                f"{mail.name} has used {unit.count(facts.used)} in this billing period. The highest tier of the plan "
                f"{plain(facts.plan)} is {offer(facts.tier, unit)}, and there is none to move up to."
            ),
            _figure(mail),
            Paragraph(f"Counting goes on, and nothing stops. {todo}", "What happens now"),
            _reset(mail),
            *_sources(mail),
        ),
    )


def _opted_out(mail: _Mail) -> _Said:
    facts = mail.facts
    return _Said(
        "Automatic upgrades are off for {name}",
        (
            Paragraph(
                f"Automatic upgrades were switched off for {mail.name}{mail.when}. The account will not be moved up by "
                "itself any more."
            ),
            _figure(mail),
            *what_happens(facts),
            Paragraph("Reply to this e-mail, and we will switch automatic upgrades on again.", "How to go back"),
            _reset(mail),
            *_upgrade(mail),
        ),
    )


_KINDS: Final[Mapping[str, Callable[[_Mail], _Said]]] = {
    "threshold": _threshold,
    "upgraded": _upgraded,
    "paused": _paused,
    "held": _held,
    "giving_up_soon": _giving_up_soon,
    "resumed": _resumed,
    "trial_ended": _trial_ended,
    "downgrade_lapsed": _downgrade_lapsed,
    "over_top_tier": _over_top_tier,
    "opted_out": _opted_out,
}

_WRITTEN_FOR_STAFF: Final = {"downgrade_lapsed", "over_top_tier"}
