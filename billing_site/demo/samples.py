"""Who the sample accounts are. All of them are made up."""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, and the types of events that it sends, each with how often it does."""

    key: str
    name: str
    kind: str
    source_app: str
    destination_app: str
    types: dict[str, int]


@dataclass(frozen=True, slots=True)
class Month:
    """A billing period: exactly so many people count in it, or on the event unit so many events do.

    Above the limit these are what is sent; what comes of it is the account's policy.
    """

    people: int
    events: int


@dataclass(frozen=True, slots=True)
class Sample:
    """An account. `months` are its billing periods, the present one last; from one to the next no one goes missing.

    `signed_up_at` is the start of the first of them unless given; `settings` are those of the account from the start.
    """

    slug: str
    name: str
    plan: str
    tier: str
    links: tuple[Link, ...]
    months: tuple[Month, ...] = ()
    timezone: str = "UTC"
    signed_up_at: datetime | None = None
    settings: dict[str, object] = field(default_factory=dict)
    channel: str = ""  # its people are users of this channel, and have no address


CRM = Link(
    "crm-sync",
    "Contacts: CRM to newsletter",
    "contact_sync",
    "Pipeline CRM",
    "Letterbox",
    {"contact.created_in_marketing": 3, "contact.updated_in_marketing": 6, "contact.matched": 1},
)
MAIL = Link(
    "newsletter",
    "Newsletter activity back to the CRM",
    "engagement",
    "Letterbox",
    "Pipeline CRM",
    {
        "engagement.email_sent": 10,
        "engagement.email_opened": 6,
        "engagement.email_clicked": 2,
        "engagement.unsubscribed": 1,
    },
)
FORMS = Link(
    "forms",
    "Formulários do site → CRM (São Paulo, Lisboa, Łódź)",
    "engagement",
    "Questionnaire",
    "Pipeline CRM",
    {"engagement.form_submitted": 4, "engagement.meeting_scheduled": 1, "contact.created_in_crm": 2},
)
WEB = Link("website", "Website visits", "web_tracking", "Tracker", "Pipeline CRM", {"web.visited": 8})
SCORES = Link(
    "scoring", "Lead scores", "lead_scoring", "Pipeline CRM", "Letterbox", {"score.set": 2, "crm.lead_captured": 1}
)
CHAT = Link(
    "chat",
    "Automatización de chat: «¡Hola! 👋»",
    "automation",
    "Chatterbox",
    "Pipeline CRM",
    {"automation.scenario_run": 5, "automation.ai_reply": 3, "automation.campaign_message": 2},
)
LEADS = Link(
    "lead-inbox",
    "Leads und Handarbeit",
    "contact_sync",
    "Chatterbox",
    "Pipeline CRM",
    {"crm.lead_captured": 6, "crm.tagged": 2, "crm.segment_added": 1, "crm.message_sent_by_hand": 1},
)

LARGEST = "meridian-events"

SAMPLES = (
    Sample("tulip-notebooks", "Tulip Notebooks", "connect", "starter", (CRM, MAIL)),
    Sample(
        "harbour-coffee",
        "Harbour Coffee Roasters",
        "connect",
        "starter",
        (CRM, MAIL, WEB),
        (Month(520, 1_700), Month(610, 2_000), Month(704, 2_300), Month(799, 2_100)),
        timezone="America/Halifax",
    ),
    Sample(
        "bergmann-soehne",
        "Bergmann & Söhne Heizungs- und Sanitärtechnik GmbH & Co. KG",
        "connect",
        "starter",
        (CRM, MAIL, FORMS),
        (Month(655, 1_900), Month(731, 2_200), Month(800, 2_000)),
        timezone="Europe/Berlin",
    ),
    Sample(
        "fjellheim-friluft",
        "Fjellheim Friluft AS",
        "connect",
        "starter",
        (MAIL, WEB, SCORES),
        (Month(801, 2_600), Month(933, 3_100), Month(1_000, 2_700)),
        timezone="Europe/Oslo",
    ),
    # Its newsletter cannot be read again, so it is upgraded at the 1,001st.
    Sample(
        "nordlicht-reisen",
        "Nordlicht Reisen – Polarlichter & Fjorde",
        "connect",
        "starter",
        (CRM, MAIL),
        (Month(870, 1_300), Month(1_240, 1_900)),
        timezone="Europe/Berlin",
    ),
    # All that it sends can be read again, so what would be the 1,001st and later ones is held.
    Sample(
        "quarry-tools",
        "Quarry & Sons Tool Hire",
        "connect",
        "starter",
        (CRM, SCORES),
        (Month(940, 1_300), Month(1_060, 1_700)),
        timezone="Europe/London",
    ),
    # It has opted out of upgrades, so it is paused at the 1,001st: the rest is lost.
    Sample(
        "ateliers-lumiere",
        "Les Ateliers Lumière",
        "connect",
        "starter",
        (CRM, MAIL, WEB),
        (Month(910, 1_300), Month(1_080, 1_800)),
        timezone="Europe/Paris",
        settings={"auto_upgrade": False},
    ),
    # On the top tier, with an agreed limit of its own: there is nothing to upgrade to, so it counts on.
    Sample(
        "kestrel-analytics",
        "Kestrel Analytics",
        "connect",
        "scale",
        (MAIL, WEB, SCORES),
        (Month(780, 1_200), Month(960, 1_600)),
        timezone="America/New_York",
        settings={"limit_override": 900},
    ),
    Sample(
        "papaya-yoga",
        "パパイヤ・ヨガ Papaya Yoga Studio",
        "connect",
        "trial",
        (CRM, MAIL, FORMS),
        (Month(137, 410),),
        timezone="Asia/Tokyo",
    ),
    Sample(
        "clinica-mirador",
        "Clínica Dental Mirador",
        "social",
        "free",
        (CHAT, LEADS),
        (Month(41, 420), Month(58, 700), Month(64, 900)),
        timezone="America/Bogota",
        channel="insta",
    ),
    Sample(
        "orchard-press",
        "Orchard Press, Booksellers since 1887",
        "connect-legacy",
        "s",
        (MAIL, FORMS),
        (Month(180, 540), Month(194, 575), Month(201, 612)),
        timezone="Europe/Dublin",
        signed_up_at=datetime(2021, 3, 9, 9, 30, tzinfo=ZoneInfo("Europe/Dublin")),
    ),
    Sample(
        LARGEST,
        "Meridian Events & Exhibitions International (formerly Großküchen-Ausstattung Süd und Partner)",
        "connect",
        "growth",
        (CRM, MAIL, FORMS, WEB, SCORES, CHAT),
        tuple(Month(people, 4 * people) for people in range(480, 1_930, 120)),
        timezone="Europe/Vienna",
    ),
)
