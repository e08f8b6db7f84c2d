"""The catalogue against the table of DESIGN section 3, written out here once more."""

import pytest

from metering import catalogue
from metering.catalogue import BY_CODE, BY_NAME, ORIGINS, ContactUnit, Effect, Family, Reason, reasons_in

# type | billable event | reason for an active contact | activates | effect on state
TABLE = """
contact.created_in_marketing    | yes | contact_sync      |                  | member
contact.created_in_crm          | yes | contact_sync      |                  | member
contact.updated_in_marketing    | yes | contact_sync      |                  | member
contact.matched                 |     | contact_sync      |                  | member
contact.refused                 |     | contact_sync      |                  | member, refused since
contact.unmatched               |     |                   |                  | not a member
contact.renamed                 |     |                   |                  | new address
engagement.email_sent           | yes | email_sent        |                  | last engaged
engagement.email_opened         | yes | email_opened      |                  | last engaged
engagement.email_clicked        | yes | email_clicked     |                  | last engaged
engagement.email_bounced        | yes | email_bounced     |                  | last engaged
engagement.unsubscribed         | yes | unsubscribed      |                  | last engaged
engagement.form_submitted       | yes | form_submitted    |                  | last engaged
engagement.lead_ad_submitted    | yes | lead_ad_submitted |                  | last engaged
engagement.meeting_scheduled    | yes | meeting_scheduled |                  | last engaged
web.visited                     |     | web_visit         |                  | last engaged
score.set                       |     | lead_score        |                  | live score
score.cleared                   |     |                   |                  | no score
automation.campaign_message     |     |                   | campaign_message |
automation.scenario_run         |     |                   | scenario_run     |
automation.ai_reply             |     |                   | ai_reply         |
crm.lead_captured               |     |                   |                  | first origin
crm.segment_added               |     |                   |                  |
crm.folder_added                |     |                   |                  |
crm.tagged                      |     |                   |                  |
crm.note_added                  |     |                   |                  |
crm.message_sent_by_hand        |     |                   |                  |
"""
EFFECTS = {
    "": Effect.NONE,
    "member": Effect.JOINS,
    "member, refused since": Effect.IS_REFUSED,
    "not a member": Effect.LEAVES,
    "new address": Effect.IS_RENAMED,
    "last engaged": Effect.ENGAGES,
    "live score": Effect.SETS_SCORE,
    "no score": Effect.CLEARS_SCORE,
    "first origin": Effect.GIVES_ORIGIN,
}
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("name", "billable", "active", "activates", "effect"), ROWS, ids=[row[0] for row in ROWS])
def test_a_type_means_what_the_design_says(name: str, billable: str, active: str, activates: str, effect: str):
    row = BY_NAME[name]

    assert row.billable is (billable == "yes")
    assert row.unit is (ContactUnit.ACTIVE if active else ContactUnit.ACTIVATED if activates else None)
    assert (row.reason.label if row.reason else "") == (active or activates)
    assert row.effect is EFFECTS[effect]


def test_there_are_these_types_and_no_others():
    assert list(BY_NAME) == [row[0] for row in ROWS]


def test_every_type_begins_with_its_family():
    assert {row.name.partition(".")[0] for row in BY_NAME.values()} == {str(family) for family in Family}
    assert [row.name for row in BY_NAME.values() if row.name.partition(".")[0] != row.family] == []


def test_codes_are_unique_and_small_enough_to_store():
    assert len(BY_CODE) == len(BY_NAME) == len(ROWS)
    assert all(0 < code < 2**15 for code in BY_CODE)


def test_codes_are_never_renumbered():
    """They are stored: a change here needs a data migration."""
    assert {row.name: row.code for row in BY_NAME.values()} == dict(
        zip(
            [row[0] for row in ROWS],
            [1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 20, 30, 31, 40, 41, 42, 50, 51, 52, 53, 54, 55],
            strict=True,
        )
    )


def test_every_reason_is_a_bit_of_its_own():
    assert [reason.value for reason in Reason] == [1 << place for place in range(len(Reason))]
    assert sum(Reason) < 2**31


def test_every_reason_is_given_by_a_type_and_in_one_unit_only():
    units = {reason: {row.unit for row in BY_NAME.values() if row.reason is reason} for reason in Reason}

    assert [reason for reason, of_reason in units.items() if len(of_reason) != 1] == []


def test_a_set_of_reasons_reads_back_in_the_order_of_the_catalogue():
    assert reasons_in(Reason.AI_REPLY | Reason.CONTACT_SYNC | Reason.WEB_VISIT) == [
        Reason.CONTACT_SYNC,
        Reason.WEB_VISIT,
        Reason.AI_REPLY,
    ]
    assert reasons_in(0) == []


def test_only_sent_mails_can_be_switched_off():
    assert {row.name: row.recorded_if for row in BY_NAME.values() if row.recorded_if} == {
        "engagement.email_sent": "record_email_sent"
    }


@pytest.mark.parametrize("unit", ContactUnit)
def test_the_types_of_a_unit_are_those_that_count_for_it(unit: ContactUnit):
    column = 2 if unit is ContactUnit.ACTIVE else 3

    assert [row.name for row in catalogue.types_counting_for(unit)] == [row[0] for row in ROWS if row[column]]


def test_a_lead_comes_from_one_of_three_origins():
    assert ORIGINS == ("organic", "ad", "collaboration")
