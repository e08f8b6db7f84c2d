"""Facts to write mails about, good unless you say otherwise."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

from notifications.facts import Action, Facts, Link, Source, TierFacts, Why
from notifications.models import Kind

UNITS = {
    "app_connector_events": "app connector events",
    "active_contacts": "active contacts",
    "activated_contacts": "activated contacts",
}
KINDS = list(Kind)
ACTIONS = get_args(Action)
WHYS = get_args(Why)

STARTER = TierFacts("starter", 1_000, Decimal("49.00"))
GROWTH = TierFacts("growth", 2_500, Decimal("99.00"))
SCALE = TierFacts("scale", None, Decimal("1290.00"))

SYNC = Link("pipedrive-mailchimp", "Pipedrive to Mailchimp", replayable=True)
WEB = Link("website", "Website", replayable=False)


def facts(**changes: Any) -> Facts:
    """An account on starter that has used 812 of 1,000 active contacts and would be upgraded for its website."""
    usual: dict[str, Any] = {
        "unit": "active_contacts",
        "plan": "connect",
        "tier": STARTER,
        "used": 812,
        "limit": 1_000,
        "timezone": "Europe/Berlin",
        "resets_at": datetime(2026, 11, 30, 23, tzinfo=UTC),
        "action": "upgrade",
        "why": "replayability",
        "links": [SYNC, WEB],
        "sources": [
            Source("pipedrive-mailchimp", "Pipedrive to Mailchimp", 640),
            Source("website", "Website", 301),
            Source("scoring", "Lead scores", 12),
        ],
        "next_tier": GROWTH,
        "at": datetime(2026, 11, 22, 11, tzinfo=UTC),
        "before": STARTER,
        "events": 1_234,
        "until": datetime(2026, 12, 24, 11, 30, tzinfo=UTC),
    }
    return Facts(**{**usual, **changes})
