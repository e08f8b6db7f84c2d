"""The full list of a contact sync's members: who is new on it joins, who is missing leaves (DESIGN section 7).

The list is read whole, into tables of the session, before anything changes; so memory is bounded and a bad line costs
nothing. Then each difference is an event that goes through the same intake as any other, some thousand in a
transaction: after an interruption the same list again does the rest.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from django.db import Error

from accounts.models import Account, Connection, ConnectionKind
from accounts.refusals import Refused
from metering import sql
from metering.catalogue import BY_CODE, Effect
from metering.envelope import BadBody, Event
from metering.identity import BadSubject, normalise
from metering.intake import take_in_for
from metering.models import AccountMeter, EventState

MAX_LINES: Final = 1_000_000
"""Lines of a list, blank ones included."""

MAX_BYTES: Final = 256 * 2**20
"""Bytes of a list, inflated."""

MAX_LINE: Final = 16 * 2**10
"""Bytes of a line: a subject of 320 characters, all of them escaped, takes 4 KiB."""

AT_ONCE: Final = 5_000
"""Events in one transaction: others wait for the account's lock for two seconds at most."""

_COPIED_AT_ONCE: Final = 10_000

_JOINED, _LEFT = "contact.matched", "contact.unmatched"
_JOINING = [kind.code for kind in BY_CODE.values() if kind.effect in (Effect.JOINS, Effect.IS_REFUSED)]


class _Listed(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line of the list."""

    subject: str


_LINE: Final = msgspec.json.Decoder(_Listed)
_ANYTHING: Final = msgspec.json.Decoder()
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class MembersAnswer(NamedTuple):
    """How many people are listed, how many of them were no members, how many members were not, and what became of the
    events of these two."""

    members: int
    joined: int
    left: int
    outcomes: dict[str, int]


def put_members(account: Account, link: Connection, chunks: Iterable[bytes], *, now: datetime) -> MembersAnswer:
    """Make those whom the lines of a list name the members of a connection, and nobody else.

    Whatever reading the chunks raises changes nothing. Raises `Refused` (`not_a_contact_sync`), `BadBody` for a bad
    line, which it names, and for too many (413), `AccountBusy`: then the same list again does the rest.
    """
    if link.kind != ConnectionKind.CONTACT_SYNC:
        raise Refused("not_a_contact_sync", "Only a connection of kind contact_sync has members.")
    with _session_tables():
        _read(chunks)
        members, joined, left = _compare(link)
        outcomes = Counter[str]()
        for events in _events(account, link, now):
            items, _ = take_in_for(account, events, now=now)
            outcomes.update(item.verdict.outcome for item in items)
        return MembersAnswer(members, joined, left, dict(outcomes))


# --- Reading ---------------------------------------------------------------------------------------------------------


@contextmanager
def _session_tables() -> Iterator[None]:
    """Tables that only this session sees: what is listed, whom that means, and what is to be done."""
    drop = "DROP TABLE IF EXISTS pg_temp.members_listed, pg_temp.members_meant, pg_temp.members_to_move"
    sql.run(drop)
    sql.run("CREATE TEMPORARY TABLE members_listed (place int, identity text, subject text)")
    sql.run("CREATE TEMPORARY TABLE members_meant (contact_id bigint, identity text, subject text)")
    sql.run("CREATE TEMPORARY TABLE members_to_move (place int, joins boolean, identity text, subject text)")
    try:
        yield
    finally:
        with suppress(Error):  # of a connection that is gone, so are its tables
            sql.run(drop)


def _read(chunks: Iterable[bytes]) -> None:
    batch: list[tuple[int, str, str]] = []
    for number, line in enumerate(_lines(chunks), start=1):
        if number > MAX_LINES:
            raise BadBody("too_many_lines", f"A list has at most {MAX_LINES} lines.", 413)
        if len(line) > MAX_LINE:  # also a blank one: what follows it was not read
            raise _bad_line(number, "too_long", f"A line has at most {MAX_LINE} bytes.")
        if not line or line.isspace():
            continue
        identity, subject = _person(number, line)
        batch.append((number, identity, subject))
        if len(batch) == _COPIED_AT_ONCE:
            _copy(batch)
            batch = []
    _copy(batch)


def _copy(batch: list[tuple[int, str, str]]) -> None:
    sql.copy_rows("members_listed", {"place": "int4", "identity": "text", "subject": "text"}, batch)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text that comes in pieces; one that is too long ends as a bad one."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE:
            break
    if rest:
        yield rest


def _person(number: int, line: bytes) -> tuple[str, str]:
    """Whom a line names: the identity, and how it is spelt. Raises `BadBody`."""
    try:
        subject = _LINE.decode(line).subject
        return normalise(subject), subject
    except BadSubject as error:
        raise _bad_line(number, error.code, error.detail) from None
    except _NOT_JSON:
        raise _bad_line(number, *_what_is_wrong(line)) from None


def _what_is_wrong(line: bytes) -> tuple[str, str]:
    """Code and words for a line that is no `{"subject": …}`."""
    try:
        value: Any = _ANYTHING.decode(line)
    except _NOT_JSON:
        return "bad_json", "It is not JSON."
    if not isinstance(value, dict):
        return "not_an_object", "It is no JSON object."
    if value.keys() - {"subject"}:
        return "unknown_field", "It has a field besides subject."
    return ("wrong_type", "The subject must be a string.") if value else ("missing_field", "It has no subject.")


def _bad_line(number: int, code: str, detail: str) -> BadBody:
    return BadBody(code, f"Line {number}: {detail}")


# --- Comparing -------------------------------------------------------------------------------------------------------

_MEANT = """
INSERT INTO members_meant (contact_id, identity, subject)
SELECT DISTINCT ON (contact_id, unknown) contact_id, identity, subject
FROM (SELECT coalesce(contact.alias_of_id, contact.id) AS contact_id,
             CASE WHEN contact.id IS NULL THEN listed.identity END AS unknown,
             listed.identity, listed.subject, listed.place
      FROM members_listed AS listed
      LEFT JOIN metering_contact AS contact ON contact.account_id = %(account)s AND contact.identity = listed.identity
     ) AS listed
ORDER BY contact_id, unknown, place
"""

# Whose joining is held is present: held once is enough. Unless it has left since.
_TO_MOVE = """
INSERT INTO members_to_move (place, joins, identity, subject)
WITH present AS (
  SELECT contact_id FROM metering_syncmember
  WHERE account_id = %(account)s AND connection_id = %(connection)s AND holds
  UNION
  SELECT coalesce(contact.alias_of_id, contact.id)
  FROM metering_event AS event
  JOIN metering_contact AS contact ON contact.account_id = %(account)s AND contact.id = event.contact_id
  LEFT JOIN metering_syncmember AS member
    ON member.account_id = %(account)s AND member.connection_id = %(connection)s
   AND member.contact_id = coalesce(contact.alias_of_id, contact.id)
  WHERE event.account_id = %(account)s AND event.connection_id = %(connection)s AND event.state = %(held)s
    AND event.type = ANY(%(joining)s::smallint[])
    AND (member.id IS NULL OR (event.occurred_at, event.key COLLATE "C")
                              > (member.changed_at, member.changed_by COLLATE "C"))
), move AS (
  SELECT true AS joins, identity, subject FROM members_meant AS meant
  WHERE NOT EXISTS (SELECT FROM present WHERE present.contact_id = meant.contact_id)
  UNION ALL
  SELECT false, contact.identity, contact.display
  FROM present JOIN metering_contact AS contact
    ON contact.account_id = %(account)s AND contact.id = present.contact_id
  WHERE NOT EXISTS (SELECT FROM members_meant AS meant WHERE meant.contact_id = present.contact_id)
)
SELECT row_number() OVER (ORDER BY joins, identity), joins, identity, subject FROM move
"""


def _compare(link: Connection) -> tuple[int, int, int]:
    """Find what is to be done: how many people are listed, how many join, how many leave."""
    parameters = {
        "account": link.account_id,
        "connection": link.pk,
        "joining": _JOINING,
        "held": EventState.HELD.value,
    }
    sql.run("ANALYZE members_listed")
    sql.run(_MEANT, parameters)
    sql.run("ANALYZE members_meant")
    sql.run(_TO_MOVE, parameters)
    [[members, joined, left]] = sql.run(
        """SELECT (SELECT count(*) FROM members_meant), count(*) FILTER (WHERE joins), count(*) FILTER (WHERE NOT joins)
           FROM members_to_move"""
    )
    return members, joined, left


def _events(account: Account, link: Connection, now: datetime) -> Iterator[list[Event]]:
    """The differences as events at the account's time, in batches. Their ids grow from one list to the next, so that
    of two at the same instant the later holds."""
    clock = AccountMeter.objects.get(account_id=account.pk).clock or now
    [[serial]] = sql.run("SELECT nextval(pg_get_serial_sequence('metering_event', 'id'))")
    done = 0
    while moves := sql.run(
        "SELECT place, joins, identity, subject FROM members_to_move WHERE place > %s ORDER BY place LIMIT %s",
        (done, AT_ONCE),
    ):
        yield [
            Event(
                index=index,
                id=f"members:{serial:019d}:{place:07d}",
                source=link.key,
                type=_JOINED if joins else _LEFT,
                subject=subject,
                identity=identity,
                time=clock,
                account=None,
                data=None,
            )
            for index, (place, joins, identity, subject) in enumerate(moves)
        ]
        done = moves[-1][0]
