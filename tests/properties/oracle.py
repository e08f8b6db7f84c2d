"""What must be counted, straight from what happened: no tables, no order of arrival, none of the code under test.

A delivery is a happening and when it came first. It counts in the period of its own time if it came before that
period closed. What a period carries in is the state at its start by the time of what happened, of all that came
before the period before it closed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

GRACE = timedelta(hours=24)

EVENT_UNIT, ACTIVE, ACTIVATED = "app_connector_events", "active_contacts", "activated_contacts"

JOINS = {"created_in_marketing", "created_in_crm", "updated_in_marketing", "matched", "refused"}
ENGAGEMENTS = {"email_sent", "email_opened", "email_clicked", "email_bounced", "unsubscribed",
               "form_submitted", "lead_ad_submitted", "meeting_scheduled"}  # fmt: skip


@dataclass(frozen=True)
class Happening:
    """Something that a connection did to a person. `subject` is one of the person's spellings."""

    source: str
    key: str
    type: str
    person: str
    subject: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        return self.type.partition(".")[2]

    @property
    def billable(self) -> bool:
        return self.type.startswith("engagement.") or self.name in {
            "created_in_marketing",
            "created_in_crm",
            "updated_in_marketing",
        }

    @property
    def reason(self) -> tuple[str, str] | None:
        """The unit and the reason that it counts its person for."""
        if self.type.startswith("automation."):
            return ACTIVATED, self.name
        if self.type.startswith("engagement."):
            return ACTIVE, self.name
        if self.type == "web.visited":
            return ACTIVE, "web_visit"
        if self.type == "score.set" and self.data["value"] != 0:
            return ACTIVE, "lead_score"
        return (ACTIVE, "contact_sync") if self.type.startswith("contact.") and self.name in JOINS else None

    @property
    def holds(self) -> bool:
        """Whether a membership or score that it changed last holds."""
        return self.reason is not None


@dataclass(frozen=True)
class Link:
    """What matters of a connection."""

    keeps_members: bool = False
    score_expiry: timedelta | None = None
    off_since: datetime | None = None
    records_sends: bool = True

    def enabled_at(self, at: datetime) -> bool:
        return self.off_since is None or at < self.off_since


@dataclass
class Count:
    """Why a person counts: reasons by what happened and by what was carried in, as (connection, reason)."""

    given: set[tuple[str, str]] = field(default_factory=set)
    carried: set[tuple[str, str]] = field(default_factory=set)
    first: tuple[datetime, str, str] | None = None


@dataclass
class Expected:
    """A period: who counts in which unit and why, and billable events by (connection, type)."""

    who: defaultdict[tuple[str, str], Count] = field(default_factory=lambda: defaultdict(Count))
    events: Counter[tuple[str, str]] = field(default_factory=Counter)


StateKey = tuple[str, str, str]  # person, connection, "contact_sync" or "lead_score"


def last_changes(happenings: Iterable[Happening], links: Mapping[str, Link]) -> dict[StateKey, Happening]:
    """What changed every membership and score last, by the greatest (time, id)."""
    last = {}
    for it in sorted(happenings, key=lambda it: (it.at, it.key)):
        if it.type.startswith("score."):
            last[it.person, it.source, "lead_score"] = it
        elif it.name in {*JOINS, "unmatched"} and links[it.source].keeps_members:
            last[it.person, it.source, "contact_sync"] = it
    return last


def held_at(start: datetime, happenings: Iterable[Happening], links: Mapping[str, Link]) -> set[StateKey]:
    """The memberships and live scores that a period starting then carries in."""
    last = last_changes((it for it in happenings if it.at < start), links)
    return {
        key
        for key, it in last.items()
        if it.holds and links[it.source].enabled_at(start) and not _expired(it, links[it.source], start)
    }


def _expired(it: Happening, link: Link, at: datetime) -> bool:
    if it.type != "score.set":
        return False
    ends = it.data.get("expires_at") or (it.at + link.score_expiry if link.score_expiry else None)
    return ends is not None and ends <= at


def accepted(it: Happening, links: Mapping[str, Link]) -> bool:
    """Whether it is stored: neither rejected nor ignored."""
    link = links[it.source]
    return link.enabled_at(it.at) and (link.records_sends or it.name != "email_sent")


def expected(came: Mapping[Happening, datetime], links: Mapping[str, Link], start: datetime, end: datetime) -> Expected:
    """What the period `[start, end)` counts of what came (and when it came first)."""
    period = Expected()
    stored = {it: at for it, at in came.items() if accepted(it, links)}
    for it, at in stored.items():
        if start <= it.at < end and at < end + GRACE:
            period.events[it.source, it.type] += it.billable
            if it.reason:
                count = period.who[it.reason[0], it.person]
                count.given.add((it.source, it.reason[1]))
                count.first = min(count.first or (it.at, it.source, it.key), (it.at, it.source, it.key))
    in_time = [it for it, at in stored.items() if at < start + GRACE]
    for person, source, reason in held_at(start, in_time, links):
        period.who[ACTIVE, person].carried.add((source, reason))
    return period
