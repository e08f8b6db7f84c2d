"""What every event type means: the one place that says so (DESIGN section 3)."""

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum


class Family(StrEnum):
    """Which group of the Status page a type belongs to."""

    CONTACT = "contact"
    ENGAGEMENT = "engagement"
    WEB = "web"
    SCORE = "score"
    AUTOMATION = "automation"
    CRM = "crm"


class Effect(Enum):
    """What a type does to what Headcount knows of a contact."""

    NONE = "none"
    JOINS = "joins"
    IS_REFUSED = "is_refused"
    LEAVES = "leaves"
    IS_RENAMED = "is_renamed"
    ENGAGES = "engages"
    SETS_SCORE = "sets_score"
    CLEARS_SCORE = "clears_score"
    GIVES_ORIGIN = "gives_origin"


STATE_EFFECTS = (Effect.JOINS, Effect.IS_REFUSED, Effect.LEAVES, Effect.SETS_SCORE, Effect.CLEARS_SCORE)
"""What moves a membership or a score."""


class ContactUnit(IntEnum):
    """The two units that count contacts, as stored."""

    ACTIVE = 1
    ACTIVATED = 2

    __hash__ = int.__hash__  # Enum's own is several times slower, and intake looks up by unit for every event


class Reason(IntEnum):
    """Why a contact counts: a bit each, so that a set of reasons is one number. Never renumber."""

    CONTACT_SYNC = 1 << 0
    EMAIL_SENT = 1 << 1
    EMAIL_OPENED = 1 << 2
    EMAIL_CLICKED = 1 << 3
    EMAIL_BOUNCED = 1 << 4
    UNSUBSCRIBED = 1 << 5
    FORM_SUBMITTED = 1 << 6
    LEAD_AD_SUBMITTED = 1 << 7
    MEETING_SCHEDULED = 1 << 8
    WEB_VISIT = 1 << 9
    LEAD_SCORE = 1 << 10
    CAMPAIGN_MESSAGE = 1 << 11
    SCENARIO_RUN = 1 << 12
    AI_REPLY = 1 << 13

    @property
    def label(self) -> str:
        """The reason as the API names it."""
        return self.name.lower()


REASON_BY_LABEL = {reason.label: reason for reason in Reason}


def reasons_in(mask: int) -> list[Reason]:
    """The reasons of a stored set, in the order of the catalogue."""
    return [reason for reason in Reason if mask & reason]


@dataclass(frozen=True, slots=True)
class EventType:
    """A row of the catalogue: what a type is called, counts for, and does.

    `code` is how the type is stored: never renumber, never reuse.
    """

    code: int
    name: str
    family: Family
    billable: bool = False
    unit: ContactUnit | None = None
    reason: Reason | None = None
    effect: Effect = Effect.NONE
    recorded_if: str | None = None  # the connection's switch that must be on, else the event is `ignored`


_ACTIVE, _ACTIVATED = ContactUnit.ACTIVE, ContactUnit.ACTIVATED
_CONTACT, _ENGAGEMENT, _AUTOMATION, _CRM = Family.CONTACT, Family.ENGAGEMENT, Family.AUTOMATION, Family.CRM
_SYNC = Reason.CONTACT_SYNC

# fmt: off
_TYPES = (
    #         code name                             family       billable unit      reason                    effect
    EventType(1,  "contact.created_in_marketing",   _CONTACT,    True,  _ACTIVE,    _SYNC,                    Effect.JOINS),
    EventType(2,  "contact.created_in_crm",         _CONTACT,    True,  _ACTIVE,    _SYNC,                    Effect.JOINS),
    EventType(3,  "contact.updated_in_marketing",   _CONTACT,    True,  _ACTIVE,    _SYNC,                    Effect.JOINS),
    EventType(4,  "contact.matched",                _CONTACT,    False, _ACTIVE,    _SYNC,                    Effect.JOINS),
    EventType(5,  "contact.refused",                _CONTACT,    False, _ACTIVE,    _SYNC,                    Effect.IS_REFUSED),
    EventType(6,  "contact.unmatched",              _CONTACT,    effect=Effect.LEAVES),
    EventType(7,  "contact.renamed",                _CONTACT,    effect=Effect.IS_RENAMED),
    EventType(10, "engagement.email_sent",          _ENGAGEMENT, True,  _ACTIVE,    Reason.EMAIL_SENT,        Effect.ENGAGES, "record_email_sent"),
    EventType(11, "engagement.email_opened",        _ENGAGEMENT, True,  _ACTIVE,    Reason.EMAIL_OPENED,      Effect.ENGAGES),
    EventType(12, "engagement.email_clicked",       _ENGAGEMENT, True,  _ACTIVE,    Reason.EMAIL_CLICKED,     Effect.ENGAGES),
    EventType(13, "engagement.email_bounced",       _ENGAGEMENT, True,  _ACTIVE,    Reason.EMAIL_BOUNCED,     Effect.ENGAGES),
    EventType(14, "engagement.unsubscribed",        _ENGAGEMENT, True,  _ACTIVE,    Reason.UNSUBSCRIBED,      Effect.ENGAGES),
    EventType(15, "engagement.form_submitted",      _ENGAGEMENT, True,  _ACTIVE,    Reason.FORM_SUBMITTED,    Effect.ENGAGES),
    EventType(16, "engagement.lead_ad_submitted",   _ENGAGEMENT, True,  _ACTIVE,    Reason.LEAD_AD_SUBMITTED, Effect.ENGAGES),
    EventType(17, "engagement.meeting_scheduled",   _ENGAGEMENT, True,  _ACTIVE,    Reason.MEETING_SCHEDULED, Effect.ENGAGES),
    EventType(20, "web.visited",                    Family.WEB,  False, _ACTIVE,    Reason.WEB_VISIT,         Effect.ENGAGES),
    EventType(30, "score.set",                      Family.SCORE, False, _ACTIVE,   Reason.LEAD_SCORE,        Effect.SETS_SCORE),
    EventType(31, "score.cleared",                  Family.SCORE, effect=Effect.CLEARS_SCORE),
    EventType(40, "automation.campaign_message",    _AUTOMATION, False, _ACTIVATED, Reason.CAMPAIGN_MESSAGE),
    EventType(41, "automation.scenario_run",        _AUTOMATION, False, _ACTIVATED, Reason.SCENARIO_RUN),
    EventType(42, "automation.ai_reply",            _AUTOMATION, False, _ACTIVATED, Reason.AI_REPLY),
    EventType(50, "crm.lead_captured",              _CRM,        effect=Effect.GIVES_ORIGIN),
    EventType(51, "crm.segment_added",              _CRM),
    EventType(52, "crm.folder_added",               _CRM),
    EventType(53, "crm.tagged",                     _CRM),
    EventType(54, "crm.note_added",                 _CRM),
    EventType(55, "crm.message_sent_by_hand",       _CRM),
)
# fmt: on

BY_NAME = {row.name: row for row in _TYPES}
BY_CODE = {row.code: row for row in _TYPES}
RENAMED = BY_NAME["contact.renamed"]
SCORE_SET = BY_NAME["score.set"]
SCORE_CLEARED = BY_NAME["score.cleared"]
ORIGINS = ("organic", "ad", "collaboration")


def types_counting_for(unit: ContactUnit) -> list[EventType]:
    """The types that make a contact count in this unit."""
    return [row for row in _TYPES if row.unit is unit]
