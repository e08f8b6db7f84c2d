"""How the usage pages say reasons, types, states and kinds. Pure."""

from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from notifications.words import UNITS

REASONS: Final = {
    "contact_sync": "Part of a contact sync",
    "email_sent": "E-mail sent",
    "email_opened": "E-mail opened",
    "email_clicked": "Link in an e-mail clicked",
    "email_bounced": "E-mail bounced",
    "unsubscribed": "Unsubscribed",
    "form_submitted": "Form submitted",
    "lead_ad_submitted": "Lead ad submitted",
    "meeting_scheduled": "Meeting scheduled",
    "web_visit": "Website visited",
    "lead_score": "Has a lead score",
    "campaign_message": "Reached by a campaign",
    "scenario_run": "Went through a scenario",
    "ai_reply": "Answered by the AI agent",
}

TYPES: Final = {
    "contact.created_in_marketing": "Contact created in the marketing tool",
    "contact.created_in_crm": "Contact created in the CRM",
    "contact.updated_in_marketing": "Contact updated in the marketing or advertising tool",
    "contact.matched": "Contact entered the filter of the sync",
    "contact.refused": "Contact refused by the destination",
    "contact.unmatched": "Contact left the filter of the sync",
    "contact.renamed": "Contact has a new address",
    "engagement.email_sent": "E-mail sent",
    "engagement.email_opened": "E-mail opened",
    "engagement.email_clicked": "Link in an e-mail clicked",
    "engagement.email_bounced": "E-mail bounced",
    "engagement.unsubscribed": "Unsubscribed",
    "engagement.form_submitted": "Form submitted",
    "engagement.lead_ad_submitted": "Lead ad submitted",
    "engagement.meeting_scheduled": "Meeting scheduled",
    "web.visited": "Website visited",
    "score.set": "Lead score set",
    "score.cleared": "Lead score cleared",
    "automation.campaign_message": "Campaign message sent",
    "automation.scenario_run": "Scenario run",
    "automation.ai_reply": "AI agent replied",
    "crm.lead_captured": "Lead captured",
    "crm.segment_added": "Added to a segment",
    "crm.folder_added": "Added to a folder",
    "crm.tagged": "Tagged",
    "crm.note_added": "Note added",
    "crm.message_sent_by_hand": "Message sent by hand",
}

STATES: Final = {
    "ok": ("Within the limit", "Everything flows."),
    "warning": ("Close to the limit", "80 % of the limit is reached. Everything still flows."),
    "limit_reached": ("The limit is reached", "See below what happens with the next one."),
    "holding": (
        "At the limit: new data is held",
        "What would raise the count waits and is counted when there is room.",
    ),
    "limiting": (
        "At the limit: new contacts are not served",
        "Contacts that are counted already are served as before.",
    ),
    "paused": ("Paused: data that arrives is lost", "It cannot be replayed later."),
    "over_top_tier": ("Above the highest tier", "Counting goes on and nothing stops. We will talk with you."),
}
"""What each state is called, and what it means."""

CLOSED: Final = ("Closed", "Nothing more is counted.")
"""Instead of the state of an account that is closed."""

STANDSTILLS: Final = ("paused", "holding", "limiting")
"""States in which something is not done."""

KINDS: Final = {
    "contact_sync": "Contact sync",
    "engagement": "Engagement",
    "web_tracking": "Web tracking",
    "lead_scoring": "Lead scoring",
    "automation": "Automation",
}

GAP_REASONS: Final = {
    "limit_reached": "The limit was reached",
    "paused_by_staff": "Paused by our team",
    "trial_ended": "The trial had ended",
    "given_up": "Held for 90 days without room",
    "erased": "The person was erased while it was held",
}

MAILS: Final = {
    "threshold": "Threshold reached",
    "upgraded": "Upgraded to a higher tier",
    "paused": "Paused",
    "held": "Data is held",
    "giving_up_soon": "Held data will be given up soon",
    "resumed": "Counting goes on",
    "trial_ended": "The trial has ended",
    "downgrade_lapsed": "The downgrade did not take place",
    "over_top_tier": "Above the highest tier",
    "opted_out": "Automatic upgrades switched off",
}

MAIL_STATES: Final = {
    "pending": "is being sent",
    "sent": "sent",
    "failed": "could not be delivered",
    "historical": "imported history, never sent",
}

PERIOD_STATES: Final = {"open": "running", "ended": "over, may still change", "closed": "closed"}

ACTIONS: Final = {
    "upgrade": "The account moves up to a higher tier",
    "hold": "New data is held",
    "pause": "Everything pauses, and data is lost",
    "limit_new": "New contacts are not served",
}


def reason(name: str) -> str:
    """A reason or, on the event unit, a type."""
    return REASONS.get(name) or TYPES.get(name) or name


def action(name: str | None, *, has_higher_tier: bool) -> str:
    """What happens at the limit, in short; None is what the API says of an account without a limit."""
    if name is None:
        return "Nothing: there is no limit"
    if name == "upgrade" and not has_higher_tier:
        return "Counting goes on: there is no higher tier"
    return ACTIONS[name]


def day(on: date) -> str:
    """`3 December 2026`."""
    return f"{on.day} {on:%B %Y}"


def short(at: datetime | None, zone: str) -> str:
    """`2026-12-03 09:30` on the clocks of a zone; nothing for no time."""
    return "" if at is None else f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def forecast(seen: dict[str, Any], zone: str) -> str:
    """The forecast of `usage` in a sentence or two."""
    unit = UNITS[seen["unit"]]
    expected, on, limit = seen["forecast"]["used_at_period_end"], seen["forecast"]["limit_reached_on"], seen["limit"]
    end = day(seen["period"]["end"].astimezone(ZoneInfo(zone)).date())
    if limit is not None and on is not None and seen["used"] >= limit:
        reached = f" The limit was reached on {day(on)}."
    elif on is not None:
        reached = f" The limit will be reached about {day(on)}."
    else:
        reached = "" if limit is None else " The limit will not be reached in this period."
    if seen["period"]["state"] != "open":
        return f"The period ended on {end} with {unit.count(seen['used'])}.{reached if on is not None else ''}"
    if expected is None:
        early = "It is too early to tell: a forecast needs a week of this period."
        return early + (reached if on is not None else "")
    if not expected and not seen["used"]:
        return "Nothing is counted yet, so there is nothing to continue."
    if expected == seen["used"] and seen["state"] in STANDSTILLS:
        return f"While nothing more is counted, the number stays at {unit.count(expected)}.{reached}"
    return f"If all goes on as it does, about {unit.count(expected)} when the period ends on {end}.{reached}"
