"""What happens to an account at its limit, and why: told before it happens and when it has. Pure."""

from notifications.blocks import Paragraph
from notifications.facts import Facts
from notifications.words import UNITS, Unit, listed, offer, ordinal, plain, tier

WHAT_STOPS = "contact sync, engagement sync, web tracking, lead scoring and automations"
LOST = "Data that arrives during the pause is dropped. That leaves gaps, and what was dropped cannot be replayed later."


def what_happens(facts: Facts) -> tuple[Paragraph, ...]:
    """What the one at the limit and the one after it do to this account, and what decided that."""
    if facts.limit is None:
        return (
            Paragraph("This account has no limit: nothing stops, and nothing is held.", "What happens at the limit"),
        )
    unit = UNITS[facts.unit]
    if facts.paused:
        return (Paragraph(_paused(facts), "The account is paused"),)
    reached = facts.used >= facts.limit
    last = (
        f"The {ordinal(facts.limit)} {unit.one} {'was' if reached else 'will'} still {'' if reached else 'be '}counted."
    )
    return (
        Paragraph(
            f"{last} {_next_one(facts, unit)}",
            "What happens now that the limit is reached" if reached else "What happens at the limit",
        ),
        Paragraph(_why(facts, unit)),
    )


def _paused(facts: Facts) -> str:
    ends = {
        "paused_by_staff": "The pause ends when our team resumes the account.",
        "trial_ended": "The trial has ended; the pause ends with an upgrade.",
    }.get(
        facts.paused,
        "The limit is reached. The pause ends by itself when the next billing period begins or after an upgrade.",
    )
    return f"{WHAT_STOPS[0].upper()}{WHAT_STOPS[1:]} have stopped. {LOST} {ends}"


def irreplaceable(facts: Facts) -> list[str]:
    """The connections whose data cannot be read again later, by name."""
    return [link.name or link.key for link in facts.links if not link.replayable]


def all_links(facts: Facts) -> list[str]:
    """The enabled connections, by name."""
    return [link.name or link.key for link in facts.links]


def _next_one(facts: Facts, unit: Unit) -> str:
    match facts.action:
        case "upgrade" if facts.next_tier:
            return (
                f"The {unit.next_one} after it moves the account up to {offer(facts.next_tier, unit)} by itself, and "
                "counting goes on without a break."
            )
        case "upgrade" | "none":
            return (
                f"The {unit.next_one} after it is counted too, and so are all that follow: there is no higher tier to "
                "move up to, so nothing stops. We will talk with you about what fits."
            )
        case "hold":
            return (
                f"From the {unit.next_one} after it on, what would raise the count is held, and everything else flows "
                "on. What is held is kept and replayed, oldest first, when the next billing period begins or after an "
                "upgrade. It is given up after 90 days."
            )
        case "limit_new":
            return (
                "After it, new contacts are not served: nothing is done for them, and they are not counted. Contacts "
                "that are counted already are served as before. New ones are served again when the next billing "
                "period begins or after an upgrade."
            )
        case "pause":
            return (
                f"The {unit.next_one} after it pauses the account: {WHAT_STOPS} stop. {LOST} The pause ends by "
                "itself when the next billing period begins or after an upgrade."
            )


def _why(facts: Facts, unit: Unit) -> str:
    match facts.why:
        case "replayability":
            return _by_replayability(facts)
        case "trial":
            return (
                f"Why: the account is on a trial, {tier(facts.tier, unit)}, and a trial pauses at its limit."
                f"{_affected(facts)}"
            )
        case "opted_out":
            return (
                "Why: automatic upgrades are switched off for this account. So data will be dropped, and it cannot be "
                f"brought back{_lost(facts)}."
            )
        case "plan":
            return f"Why: this is the rule of the plan, {plain(facts.plan)}.{_affected(facts)}"
        case "account":
            return f"Why: this is how the account was set up.{_affected(facts)}"


def _by_replayability(facts: Facts) -> str:
    lost = irreplaceable(facts)
    if lost:
        rest = [link.name or link.key for link in facts.links if link.replayable]
        return (
            f"Why: what these connections send cannot be replayed later, so stopping would lose it: {listed(lost)}."
            + (f" These can be replayed: {listed(rest)}." if rest else "")
        )
    if facts.links:
        return f"Why: all enabled connections can be replayed later, so nothing is lost: {listed(all_links(facts))}."
    return "Why: the account has no enabled connection whose data cannot be replayed later."


def _affected(facts: Facts) -> str:
    if facts.action != "pause" or not facts.links:
        return ""
    return f" This will stop: {listed(all_links(facts))}."


def _lost(facts: Facts) -> str:
    links = all_links(facts)
    return f": all that comes from {listed(links)}" if facts.action == "pause" and links else ""
