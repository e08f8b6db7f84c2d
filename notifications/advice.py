"""How to bring a count down, unit by unit. Pure."""

from typing import Final

from notifications.blocks import Listing
from notifications.facts import Facts
from notifications.words import moment

STEPS: Final = {
    "active_contacts": (
        "Contact sync: keep in the sync's filter only the contacts that you are actively marketing to, and remove "
        "the inactive ones from the CRM list or filter.",
        "Contact sync: contacts that the destination refuses (compliance errors) count too. Remove them from the CRM "
        "list or filter.",
        "Engagement sync: switch off the recording of e-mail sends, which usually brings the most contacts. Opens, "
        "clicks, bounces and unsubscribes are still recorded.",
        "Lead scoring: shorten the score expiry, so that older lead scores lapse.",
    ),
    "app_connector_events": (
        "Engagement sync: switch off the recording of e-mail sends, which usually brings the most events. Opens, "
        "clicks, bounces and unsubscribes are still recorded.",
        "Contact sync: an update counts once, however many fields it changes. Let your tools collect changes and "
        "write them together, and keep contacts that you do not market to out of the filter.",
        "Forms: one form that creates a contact and records an activity makes two events. Switch off the part that "
        "you do not need.",
        "Switch off connections that nobody uses any more.",
    ),
    "activated_contacts": (
        "Campaigns: send to narrower audiences, and leave out contacts that have not reacted for long. The first "
        "message to a contact counts it for the whole period; further ones cost nothing more.",
        "Scenarios: let them start for the contacts that need them, not for everybody who writes.",
        "AI replies: limit them to the channels and questions where they help.",
        "What people do by hand (notes, tags, folders, messages) never counts, nor do leads that are only stored.",
    ),
}
"""What to do, the most effective first."""


def how_to_reduce(facts: Facts) -> Listing:
    """The advice for the account's unit, and when it shows."""
    until = moment(facts.resets_at, facts.timezone)
    if facts.unit == "app_connector_events":
        after = f"What is counted stays counted until the period ends on {until}; the next one starts at 0."
    else:
        after = (
            f"A contact that is counted stays counted until the period ends on {until}, whatever you change. So the "
            "count goes down with the next period; until then these steps keep further contacts from being counted."
        )
    return Listing("How to reduce the count", STEPS[facts.unit], after)
