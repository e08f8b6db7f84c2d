"""The statements of `reconcile`: what the stored rows say a number must be, and how to write it.

SQL of its own on purpose, not the code that moves the counters: the two can only agree by both being right.
"""

from collections.abc import Mapping

# The catalogue as a table, and what the events of each period give.
GIVEN = """
WITH kind AS (
  SELECT * FROM unnest(%(types)s::smallint[], %(billable)s::bool[], %(units)s::smallint[], %(reasons)s::int[])
    AS kind (type, billable, unit, reason)
), event AS (
  SELECT event.*, kind.billable,
         CASE WHEN event.type = %(score_set)s AND event.data -> 'value' = '0'::jsonb THEN NULL ELSE kind.unit END
           AS unit,
         kind.reason
  FROM metering_event AS event JOIN kind ON kind.type = event.type
  WHERE event.account_id = %(account)s AND event.state = %(recorded)s AND event.period_id IS NOT NULL
), given AS (
  SELECT period_id, unit, contact_id, connection_id, bit_or(reason) AS reasons
  FROM event WHERE unit IS NOT NULL GROUP BY period_id, unit, contact_id, connection_id
), first AS (
  SELECT DISTINCT ON (event.period_id, event.unit, event.contact_id)
         event.period_id, event.unit, event.contact_id, event.occurred_at, link.key AS source, event.key, event.type,
         (coalesce(event.counted_at, event.occurred_at) AT TIME ZONE %(timezone)s)::date AS day
  FROM event JOIN accounts_connection AS link ON link.id = event.connection_id
  WHERE event.unit IS NOT NULL
  ORDER BY event.period_id, event.unit, event.contact_id, event.occurred_at, link.key COLLATE "C", event.key COLLATE "C"
), place AS (
  SELECT counted.period_id, counted.unit, counted.contact_id, place.connection_id,
         bit_or(place.by_events) AS by_events, bit_or(place.carried) AS carried
  FROM metering_countedcontact AS counted,
       unnest(connections, event_reasons, carried_reasons) AS place (connection_id, by_events, carried)
  WHERE counted.account_id = %(account)s
  GROUP BY counted.period_id, counted.unit, counted.contact_id, place.connection_id
), effect AS (
  SELECT * FROM unnest(%(state_types)s::smallint[], %(of_scores)s::bool[], %(holds)s::bool[], %(refusals)s::bool[])
    AS effect (type, of_scores, holds, refuses)
), state AS (
  SELECT DISTINCT ON (effect.of_scores, coalesce(contact.alias_of_id, contact.id), event.connection_id)
         effect.of_scores, coalesce(contact.alias_of_id, contact.id) AS contact_id, event.connection_id,
         effect.holds AND event.state <> %(voided)s
           AND NOT (event.type = %(score_set)s AND event.data -> 'value' = '0'::jsonb) AS holds,
         event.occurred_at AS changed_at, event.key AS changed_by,
         CASE WHEN effect.refuses AND event.state <> %(voided)s THEN event.occurred_at END AS refused_since,
         CASE WHEN effect.of_scores AND effect.holds AND event.state <> %(voided)s
              THEN coalesce((event.data ->> 'value')::float8, 0) ELSE 0 END AS value,
         CASE WHEN effect.of_scores AND effect.holds AND event.state <> %(voided)s
              THEN (event.data ->> 'expires_at')::timestamptz END AS expires_at
  FROM metering_event AS event
  JOIN effect ON effect.type = event.type
  JOIN metering_contact AS contact ON contact.account_id = event.account_id AND contact.id = event.contact_id
  JOIN accounts_connection AS link ON link.id = event.connection_id
  WHERE event.account_id = %(account)s AND (effect.of_scores OR link.kind = 'contact_sync')
    AND event.state = ANY(%(took_effect)s::smallint[])
    -- One that was voided while it was held, and so was in no period, never took effect.
    AND (event.state <> %(voided)s OR event.period_id IS NOT NULL)
    AND (contact.erased_through IS NULL OR event.id > contact.erased_through)
  ORDER BY effect.of_scores, coalesce(contact.alias_of_id, contact.id), event.connection_id,
           event.occurred_at DESC, event.key COLLATE "C" DESC
)
"""

# Each check answers (where, stored, recounted) for every difference.
CHECKS: Mapping[str, str] = {
    "reasons of counted contacts": """
        SELECT format('period %%s unit %%s contact %%s connection %%s', period_id, unit, contact_id, connection_id),
               coalesce(place.by_events, 0), coalesce(given.reasons, 0)
        FROM given FULL JOIN place USING (period_id, unit, contact_id, connection_id)
        WHERE coalesce(place.by_events, 0) <> coalesce(given.reasons, 0)""",
    "first causes of counted contacts": """
        SELECT format('period %%s unit %%s contact %%s', period_id, unit, contact_id),
               format('%%s %%s %%s', counted.first_at, counted.first_source, counted.first_key),
               format('%%s %%s %%s', first.occurred_at, first.source, first.key)
        FROM (SELECT * FROM metering_countedcontact WHERE account_id = %(account)s) AS counted
        LEFT JOIN first USING (period_id, unit, contact_id)
        WHERE (counted.first_at, nullif(counted.first_source, ''), nullif(counted.first_key, ''), counted.first_type)
              IS DISTINCT FROM (first.occurred_at, first.source::text, first.key::text, first.type)""",
    "sets of reasons of counted contacts": """
        SELECT format('period %%s unit %%s contact %%s', period_id, unit, contact_id),
               format('%%s %%s', counted.reasons, counted.carried_in),
               format('%%s %%s', recount.reasons, recount.carried_in)
        FROM (SELECT * FROM metering_countedcontact WHERE account_id = %(account)s) AS counted
        JOIN (SELECT period_id, unit, contact_id,
                     bit_or(by_events | carried) AS reasons, bool_or(carried > 0) AS carried_in
              FROM place GROUP BY period_id, unit, contact_id) AS recount USING (period_id, unit, contact_id)
        WHERE (counted.reasons, counted.carried_in) IS DISTINCT FROM (recount.reasons, recount.carried_in)""",
    "new contacts by day": """
        SELECT format('period %%s unit %%s day %%s', period_id, unit, day),
               coalesce(tally.counted, 0), coalesce(recount.contacts, 0)
        FROM (SELECT * FROM metering_countedday WHERE account_id = %(account)s AND unit <> 0) AS tally
        FULL JOIN (SELECT period_id, unit, first_on AS day, count(*) AS contacts FROM metering_countedcontact
                   WHERE account_id = %(account)s AND NOT carried_in GROUP BY period_id, unit, first_on) AS recount
        USING (period_id, unit, day)
        WHERE coalesce(tally.counted, 0) <> coalesce(recount.contacts, 0)""",
    "billable events over the days of periods": """
        SELECT format('period %%s', period_id), coalesce(tally.events, 0), coalesce(recount.events, 0)
        FROM (SELECT period_id, sum(counted) AS events FROM metering_countedday
              WHERE account_id = %(account)s AND unit = 0 GROUP BY period_id) AS tally
        FULL JOIN (SELECT period_id, count(*) AS events FROM event WHERE billable GROUP BY period_id) AS recount
        USING (period_id)
        WHERE coalesce(tally.events, 0) <> coalesce(recount.events, 0)""",
    "billable events by connection and type": """
        SELECT format('period %%s connection %%s type %%s', period_id, connection_id, type),
               coalesce(tally.events, 0), coalesce(recount.events, 0)
        FROM (SELECT * FROM metering_eventtally WHERE account_id = %(account)s) AS tally
        FULL JOIN (SELECT period_id, connection_id, type, count(*) AS events FROM event WHERE billable
                   GROUP BY period_id, connection_id, type) AS recount USING (period_id, connection_id, type)
        WHERE coalesce(tally.events, 0) <> coalesce(recount.events, 0)""",
    "contacts by set of reasons": """
        SELECT format('period %%s unit %%s reasons %%s', period_id, unit, reasons),
               coalesce(tally.contacts, 0), coalesce(recount.contacts, 0)
        FROM (SELECT * FROM metering_reasonsettally WHERE account_id = %(account)s) AS tally
        FULL JOIN (SELECT period_id, unit, reasons, count(*) AS contacts FROM metering_countedcontact
                   WHERE account_id = %(account)s GROUP BY period_id, unit, reasons) AS recount
        USING (period_id, unit, reasons)
        WHERE coalesce(tally.contacts, 0) <> coalesce(recount.contacts, 0)""",
    "contacts by connection": """
        SELECT format('period %%s unit %%s connection %%s', period_id, unit, connection_id),
               format('%%s, only here %%s', coalesce(tally.contacts, 0), coalesce(tally.only_here, 0)),
               format('%%s, only here %%s', coalesce(recount.contacts, 0), coalesce(recount.only_here, 0))
        FROM (SELECT * FROM metering_connectiontally WHERE account_id = %(account)s) AS tally
        FULL JOIN (SELECT period_id, unit, connection_id, count(*) AS contacts,
                          count(*) FILTER (WHERE cardinality(counted.connections) = 1) AS only_here
                   FROM place JOIN (SELECT period_id, unit, contact_id, connections FROM metering_countedcontact
                                    WHERE account_id = %(account)s) AS counted USING (period_id, unit, contact_id)
                   GROUP BY period_id, unit, connection_id) AS recount
        USING (period_id, unit, connection_id)
        WHERE (coalesce(tally.contacts, 0), coalesce(tally.only_here, 0))
              <> (coalesce(recount.contacts, 0), coalesce(recount.only_here, 0))""",
    "totals of periods": """
        SELECT format('period %%s (%%s)', period.id, period.starts_at::date),
               format('%%s events, %%s active, %%s activated, %%s carried in', period.app_connector_events,
                      period.active_contacts, period.activated_contacts, period.carried_in),
               format('%%s events, %%s active, %%s activated, %%s carried in', coalesce(billed.events, 0),
                      coalesce(counted.active, 0), coalesce(counted.activated, 0), coalesce(counted.carried_in, 0))
        FROM (SELECT * FROM metering_billingperiod WHERE account_id = %(account)s) AS period
        LEFT JOIN (SELECT period_id, count(*) AS events FROM event WHERE billable GROUP BY period_id) AS billed
          ON billed.period_id = period.id
        LEFT JOIN (SELECT period_id, count(*) FILTER (WHERE unit = 1) AS active,
                          count(*) FILTER (WHERE unit = 2) AS activated,
                          count(*) FILTER (WHERE carried_in) AS carried_in
                   FROM metering_countedcontact WHERE account_id = %(account)s GROUP BY period_id) AS counted
          ON counted.period_id = period.id
        WHERE (period.app_connector_events, period.active_contacts, period.activated_contacts, period.carried_in)
              <> (coalesce(billed.events, 0), coalesce(counted.active, 0), coalesce(counted.activated, 0),
                  coalesce(counted.carried_in, 0))""",
    "events by connection and type over all days": """
        SELECT format('connection %%s type %%s', connection_id, type),
               coalesce(tally.events, 0), coalesce(recount.events, 0)
        FROM (SELECT connection_id, type, sum(events) AS events FROM metering_connectionday
              WHERE account_id = %(account)s GROUP BY connection_id, type) AS tally
        FULL JOIN (SELECT connection_id, type, count(*) AS events FROM event GROUP BY connection_id, type) AS recount
        USING (connection_id, type)
        WHERE coalesce(tally.events, 0) <> coalesce(recount.events, 0)""",
    "connections of counted contacts": """
        SELECT format('period %%s unit %%s contact %%s', counted.period_id, counted.unit, counted.contact_id),
               cardinality(counted.connections), count(*)
        FROM metering_countedcontact AS counted JOIN place USING (period_id, unit, contact_id)
        WHERE counted.account_id = %(account)s
        GROUP BY counted.period_id, counted.unit, counted.contact_id, counted.connections
        HAVING cardinality(counted.connections) <> count(*)""",
    "memberships": """
        SELECT format('contact %%s connection %%s', contact_id, connection_id),
               format('%%s since %%s by %%s', stored.holds, stored.changed_at, stored.changed_by),
               format('%%s since %%s by %%s', recount.holds, recount.changed_at, recount.changed_by)
        FROM (SELECT * FROM metering_syncmember WHERE account_id = %(account)s) AS stored
        FULL JOIN (SELECT * FROM state WHERE NOT of_scores) AS recount USING (contact_id, connection_id)
        WHERE (stored.holds, stored.changed_at, stored.changed_by)
              IS DISTINCT FROM (recount.holds, recount.changed_at, recount.changed_by)""",
    "lead scores": """
        SELECT format('contact %%s connection %%s', contact_id, connection_id),
               format('%%s since %%s by %%s', stored.holds, stored.changed_at, stored.changed_by),
               format('%%s since %%s by %%s', recount.holds, recount.changed_at, recount.changed_by)
        FROM (SELECT * FROM metering_leadscore WHERE account_id = %(account)s) AS stored
        FULL JOIN (SELECT * FROM state WHERE of_scores) AS recount USING (contact_id, connection_id)
        WHERE (stored.holds, stored.changed_at, stored.changed_by)
              IS DISTINCT FROM (recount.holds, recount.changed_at, recount.changed_by)""",
    "events that lead nowhere": """
        SELECT format('event %%s', event.id), format('contact %%s, period %%s', event.contact_id, event.period_id),
               'one that is not stored'
        FROM metering_event AS event
        LEFT JOIN metering_contact AS contact
          ON contact.account_id = event.account_id AND contact.id = event.contact_id
        LEFT JOIN metering_billingperiod AS period
          ON period.account_id = event.account_id AND period.id = event.period_id
        WHERE event.account_id = %(account)s
          AND (contact.id IS NULL OR (event.period_id IS NOT NULL AND period.id IS NULL))""",
    "contacts known": """
        SELECT 'account', meter.contacts_known, recount.contacts
        FROM metering_accountmeter AS meter,
             (SELECT count(*) AS contacts FROM metering_contact
              WHERE account_id = %(account)s AND alias_of_id IS NULL) AS recount
        WHERE meter.account_id = %(account)s AND meter.contacts_known <> recount.contacts""",
}

# In this order each statement reads only what those before it made right.
REPAIRS = (
    """, recount AS (
      SELECT period_id, unit, contact_id, connection_id, coalesce(given.reasons, 0) AS by_events,
             coalesce(place.carried, 0) AS carried
      FROM given FULL JOIN place USING (period_id, unit, contact_id, connection_id)
      WHERE coalesce(given.reasons, 0) | coalesce(place.carried, 0) > 0
    )
    INSERT INTO metering_countedcontact AS counted (account_id, period_id, unit, contact_id, reasons, carried_in,
      connections, event_reasons, carried_reasons, first_at, first_source, first_key, first_type, first_on)
    SELECT %(account)s, period_id, unit, contact_id, bit_or(by_events | carried), bool_or(carried > 0),
           array_agg(connection_id ORDER BY connection_id), array_agg(by_events ORDER BY connection_id),
           array_agg(carried ORDER BY connection_id), first.occurred_at, coalesce(first.source, ''),
           coalesce(first.key, ''), first.type, first.day
    FROM recount LEFT JOIN first USING (period_id, unit, contact_id)
    GROUP BY period_id, unit, contact_id, first.occurred_at, first.source, first.key, first.type, first.day
    ON CONFLICT (account_id, period_id, unit, contact_id) DO UPDATE
    SET reasons = excluded.reasons, carried_in = excluded.carried_in, connections = excluded.connections,
        event_reasons = excluded.event_reasons, carried_reasons = excluded.carried_reasons,
        first_at = excluded.first_at, first_source = excluded.first_source, first_key = excluded.first_key,
        first_type = excluded.first_type,
        -- Where the cause stays, so does its day: what the account's zone was then is not kept.
        first_on = CASE WHEN (counted.first_at, counted.first_source, counted.first_key)
                             = (excluded.first_at, excluded.first_source, excluded.first_key)
                        THEN counted.first_on ELSE excluded.first_on END""",
    """DELETE FROM metering_countedcontact AS counted
    WHERE counted.account_id = %(account)s AND NOT 0 < ANY(counted.carried_reasons)
      AND NOT EXISTS (SELECT FROM given WHERE given.period_id = counted.period_id AND given.unit = counted.unit
                        AND given.contact_id = counted.contact_id)""",
    """DELETE FROM metering_syncmember AS stored WHERE account_id = %(account)s
      AND NOT EXISTS (SELECT FROM state WHERE NOT of_scores AND state.contact_id = stored.contact_id
                        AND state.connection_id = stored.connection_id)""",
    """INSERT INTO metering_syncmember (account_id, contact_id, connection_id, holds, changed_at, changed_by,
      refused_since)
    SELECT %(account)s, contact_id, connection_id, holds, changed_at, changed_by, refused_since
    FROM state WHERE NOT of_scores
    ON CONFLICT (account_id, contact_id, connection_id) DO UPDATE
    SET holds = excluded.holds, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
        refused_since = excluded.refused_since""",
    """DELETE FROM metering_leadscore AS stored WHERE account_id = %(account)s
      AND NOT EXISTS (SELECT FROM state WHERE of_scores AND state.contact_id = stored.contact_id
                        AND state.connection_id = stored.connection_id)""",
    """INSERT INTO metering_leadscore (account_id, contact_id, connection_id, holds, changed_at, changed_by, value,
      expires_at)
    SELECT %(account)s, contact_id, connection_id, holds, changed_at, changed_by, value, expires_at
    FROM state WHERE of_scores
    ON CONFLICT (account_id, contact_id, connection_id) DO UPDATE
    SET holds = excluded.holds, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
        value = excluded.value, expires_at = excluded.expires_at""",
    "DELETE FROM metering_eventtally WHERE account_id = %(account)s",
    """INSERT INTO metering_eventtally (account_id, period_id, connection_id, type, events)
    SELECT %(account)s, period_id, connection_id, type, count(*) FROM event WHERE billable
    GROUP BY period_id, connection_id, type""",
    "DELETE FROM metering_reasonsettally WHERE account_id = %(account)s",
    """INSERT INTO metering_reasonsettally (account_id, period_id, unit, reasons, contacts)
    SELECT account_id, period_id, unit, reasons, count(*) FROM metering_countedcontact
    WHERE account_id = %(account)s GROUP BY account_id, period_id, unit, reasons""",
    "DELETE FROM metering_countedday WHERE account_id = %(account)s AND unit <> 0",
    """INSERT INTO metering_countedday (account_id, period_id, unit, day, counted)
    SELECT account_id, period_id, unit, first_on, count(*) FROM metering_countedcontact
    WHERE account_id = %(account)s AND NOT carried_in GROUP BY account_id, period_id, unit, first_on""",
    """DELETE FROM metering_countedday AS tally WHERE account_id = %(account)s AND unit = 0
      AND (SELECT sum(days.counted) FROM metering_countedday AS days
           WHERE days.account_id = tally.account_id AND days.period_id = tally.period_id AND days.unit = 0)
          IS DISTINCT FROM (SELECT count(*) FROM event WHERE billable AND event.period_id = tally.period_id)""",
    """INSERT INTO metering_countedday (account_id, period_id, unit, day, counted)
    SELECT %(account)s, period_id, 0, (coalesce(counted_at, occurred_at) AT TIME ZONE %(timezone)s)::date, count(*)
    FROM event WHERE billable
      AND NOT EXISTS (SELECT FROM metering_countedday AS tally WHERE tally.account_id = %(account)s
                        AND tally.period_id = event.period_id AND tally.unit = 0)
    GROUP BY 2, 4""",
    "DELETE FROM metering_connectiontally WHERE account_id = %(account)s",
    """INSERT INTO metering_connectiontally (account_id, period_id, unit, connection_id, contacts, only_here)
    SELECT account_id, period_id, unit, connection_id, count(*), count(*) FILTER (WHERE cardinality(connections) = 1)
    FROM metering_countedcontact, unnest(connections) AS connection_id
    WHERE account_id = %(account)s GROUP BY account_id, period_id, unit, connection_id""",
    """UPDATE metering_billingperiod AS period
    SET app_connector_events = coalesce((SELECT sum(events) FROM metering_eventtally AS tally
          WHERE tally.account_id = period.account_id AND tally.period_id = period.id), 0),
        active_contacts = coalesce((SELECT sum(contacts) FROM metering_reasonsettally AS tally
          WHERE tally.account_id = period.account_id AND tally.period_id = period.id AND tally.unit = 1), 0),
        activated_contacts = coalesce((SELECT sum(contacts) FROM metering_reasonsettally AS tally
          WHERE tally.account_id = period.account_id AND tally.period_id = period.id AND tally.unit = 2), 0),
        carried_in = (SELECT count(*) FROM metering_countedcontact AS counted
          WHERE counted.account_id = period.account_id AND counted.period_id = period.id AND counted.carried_in)
    WHERE period.account_id = %(account)s""",
    """DELETE FROM metering_connectionday WHERE account_id = %(account)s AND (connection_id, type) IN (
      SELECT connection_id, type
      FROM (SELECT connection_id, type, sum(events) AS events FROM metering_connectionday
            WHERE account_id = %(account)s GROUP BY connection_id, type) AS tally
      FULL JOIN (SELECT connection_id, type, count(*) AS events FROM event GROUP BY connection_id, type) AS recount
      USING (connection_id, type)
      WHERE coalesce(tally.events, 0) <> coalesce(recount.events, 0))""",
    # Days by the account's present zone: what it was when each event came is not kept.
    """INSERT INTO metering_connectionday (account_id, connection_id, day, type, events)
    SELECT %(account)s, connection_id, (occurred_at AT TIME ZONE %(timezone)s)::date, type, count(*) FROM event
    WHERE NOT EXISTS (SELECT FROM metering_connectionday AS tally WHERE tally.account_id = %(account)s
                        AND tally.connection_id = event.connection_id AND tally.type = event.type)
    GROUP BY connection_id, 3, type""",
    """UPDATE metering_accountmeter SET contacts_known = (SELECT count(*) FROM metering_contact
      WHERE account_id = %(account)s AND alias_of_id IS NULL) WHERE account_id = %(account)s""",
)
