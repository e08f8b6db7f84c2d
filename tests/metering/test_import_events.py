"""`import_events`: files of any size and shape go through the same intake, to their end."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from accounts.models import Account
from metering import event_files, history, import_file, intake
from metering.lock import AccountBusy
from metering.models import AccountMeter, BillingPeriod, Event, QuarantinedEvent
from metering.reconcile import differences
from plans.catalogue import load
from tests.billing_site.programs import ROOT, environment, eventually, manage
from tests.conftest import StoppedClock
from tests.factories import NOW, event, join, put_account, put_connection, rows

type Write = Callable[..., Path]

HEADER = "id,source,type,subject,time,data\n"
TIME = "2026-11-20T10:00:00Z"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file: `write("a.ndjson", *lines)`, where lines are events, texts or bytes."""

    def write(name: str, *lines: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(as_line(line) for line in lines))
        return path

    return write


def as_line(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    text = line if isinstance(line, str) else json.dumps(line)
    return text.encode() + (b"" if text.endswith("\n") else b"\n")


def row(number: int, **changes: str) -> str:
    """A good row of CSV, but for `changes`."""
    values = {
        "id": f"row-{number}",
        "source": "pipedrive-mailchimp",
        "type": "engagement.email_opened",
        "subject": f"person-{number}@example.com",
        "time": TIME,
        "data": "",
        **changes,
    }
    return ",".join(values.values()) + "\n"


def run(*files: Path, account: str = "acme", **options: Any) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("import_events", *map(str, files), account=account, stdout=out, **options)
    return out.getvalue()


def rejected() -> list[tuple[str, str]]:
    """What is in quarantine: code and field."""
    return rows(QuarantinedEvent, "code", "field")


def printed_outcomes(text: str) -> dict[str, int]:
    lines = [line.split() for line in text.splitlines() if line.startswith("  ")]
    return {words[0]: int(words[1].replace(",", "")) for words in lines if len(words) == 2}


# -- what is read -----------------------------------------------------------------------------------------------------


def test_lines_of_cloudevents_are_taken_in_and_the_outcomes_printed(
    acme: Account, clock: StoppedClock, write: Write
) -> None:
    same = event()
    said = run(write("a.ndjson", event(), same, same, event(account="acme"), event(type="engagement.dreamt")))

    assert printed_outcomes(said) == {"recorded": 3, "duplicate": 1, "rejected": 1}
    assert "a.ndjson, line 5: unknown_type (type): no event type engagement.dreamt" in said
    assert "acme has used 3 active_contacts (of 1,000)" in said
    assert AccountMeter.objects.get(account=acme).holds_live_events


def test_importing_again_counts_nothing_twice(acme: Account, clock: StoppedClock, write: Write) -> None:
    path = write("a.ndjson", *[event() for _ in range(20)])
    run(path)

    assert printed_outcomes(run(path, path)) == {"duplicate": 40}
    assert Event.objects.count() == 20


def test_a_bad_line_costs_no_neighbour(acme: Account, clock: StoppedClock, write: Write) -> None:
    bad: list[Any] = [
        "this is no JSON",
        "[1]",
        '{"id": ',
        '{"id": "a"},{"id": "b"}',
        b'{"id": "\xff"}\n',
        "[" * 2_000,
        "null",
        '{"specversion": "1.0"}',
        event(account="globex"),
        "\u0000",
        json.dumps(event(), indent=1),
    ]
    mixed = [line for each in bad for line in (event(), each, "", "  \t \r\n")]

    said = run(write("mixed.ndjson", *mixed, json.dumps(event())))

    outcomes = printed_outcomes(said)
    assert outcomes["recorded"] == len(bad) + 1
    assert outcomes["rejected"] >= len(bad)
    assert "mixed.ndjson, line 2: bad_json" in said
    assert "mixed.ndjson, line 6: not_events" in said
    assert {code for code, _ in rejected()} >= {
        "bad_json",
        "not_events",
        "bad_encoding",
        "too_deep",
        "missing_attribute",
        "unknown_account",
    }
    assert all(json.loads(bytes(body)) is not None for body in rows(QuarantinedEvent, "body"))


def test_a_line_too_long_is_refused_unread(acme: Account, clock: StoppedClock, write: Write) -> None:
    long = json.dumps(event(data={"text": "x" * 3 * 2**20}))
    said = run(write("a.ndjson", event(), long, event(), long[: 2**20 + 7], event()))

    assert printed_outcomes(said) == {"recorded": 3, "rejected": 2}
    assert "line 2: too_large: A line has at most 1048576 bytes." in said
    body = json.loads(bytes(QuarantinedEvent.objects.order_by("pk")[0].body))
    assert body["bytes"] > 2**20
    assert body["begins"] == long[:1024]


def test_the_last_line_needs_no_end_and_windows_ends_are_ends(acme: Account, clock: StoppedClock, write: Write) -> None:
    lines = [json.dumps(event()).encode() for _ in range(3)]

    assert printed_outcomes(run(write("a.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines)))) == {"recorded": 3}


def test_an_empty_file_is_read_to_its_end(acme: Account, clock: StoppedClock, write: Write) -> None:
    assert "0 events read" in run(write("empty.ndjson"), write("blank.ndjson", "\n\n"), write("bom", b"\xef\xbb\xbf"))


def test_more_than_a_batch_keeps_its_line_numbers(
    acme: Account, clock: StoppedClock, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "BATCH_EVENTS", 10)
    lines = [event() for _ in range(25)]
    lines[22]["type"] = "engagement.dreamt"

    assert "line 23: unknown_type" in run(write("a.ndjson", *lines))
    assert Event.objects.count() == 24


@pytest.mark.parametrize(("events", "size", "sizes"), [(3, 2**30, [3, 3, 1]), (100, 600, [4, 3])])
def test_a_batch_is_bounded_by_number_and_by_bytes(
    events: int, size: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "BATCH_EVENTS", events)
    monkeypatch.setattr(event_files, "BATCH_BYTES", size)
    stream = io.BytesIO(b"".join(as_line(event()) for _ in range(7)))

    found = list(event_files.batches(stream, "ndjson", check=lambda event: event))

    assert [len(batch.items) for batch in found] == sizes
    assert [[item.index for item in batch.items] for batch in found] == [list(range(n)) for n in sizes]


def test_quiet_is_quiet(acme: Account, clock: StoppedClock, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write("a.ndjson", event()), verbosity=0) == ""
    assert capsys.readouterr() == ("", "")


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_csv_is_read_by_the_names_of_its_columns(acme: Account, clock: StoppedClock, write: Write) -> None:
    assert "recorded" in run(write("a.csv", HEADER, row(1), row(2, data='"{""campaign"": ""März""}"'), "\n", row(3)))

    assert rows(Event, "key", "data") == [
        ("row-1", None),
        ("row-2", {"campaign": "März"}),
        ("row-3", None),
    ]


def test_csv_columns_may_come_in_any_order_after_a_byte_order_mark(
    acme: Account, clock: StoppedClock, write: Write
) -> None:
    line = f'"{TIME}",,"Ann <3@example.com",engagement.email_opened,pipedrive-mailchimp,a,'
    said = run(write("a.csv", b"\xef\xbb\xbftime,data,subject,type,source,id\r\n", line[:-1].encode() + b"\r\n"))

    assert printed_outcomes(said) == {"rejected": 1}
    assert rejected() == [("bad_address", "subject")]


def test_a_row_may_extend_over_lines_inside_quotes(acme: Account, clock: StoppedClock, write: Write) -> None:
    said = run(write("a.csv", HEADER, row(1, data='"{\n  ""a"":\n\n  1\n}"'), row(2)))

    assert printed_outcomes(said) == {"recorded": 2}
    assert rows(Event, "data") == [None, {"a": 1}]


def test_a_stray_quote_costs_its_own_row_alone(acme: Account, clock: StoppedClock, write: Write) -> None:
    stray = row(2, subject='"ann@example.com')
    said = run(write("a.csv", HEADER, row(1), stray, row(3), row(4), stray.replace("row-2", "row-5"), row(6)))

    assert printed_outcomes(said) == {"recorded": 4, "rejected": 2}
    assert "line 3: bad_csv: The row is not CSV" in said


def test_a_quote_that_is_never_closed_costs_its_own_row_alone(acme: Account, clock: StoppedClock, write: Write) -> None:
    said = run(write("a.csv", HEADER, row(0, id='"row-0'), *[row(number) for number in range(1, 1_200)]))

    assert printed_outcomes(said) == {"recorded": 1_199, "rejected": 1}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"data": "{"}, "bad_data", "data"),
        ({"data": '"{}, ""type"": ""web.visited"""'}, "bad_data", "data"),
        ({"data": "[1]"}, "bad_data", "data"),
        ({"data": '"{""text"": ""' + "x" * 65_536 + '""}"'}, "too_large", "data"),
        ({"data": "x" * 200_000}, "bad_csv", ""),
        ({"time": "yesterday"}, "bad_time", "time"),
        ({"time": ""}, "blank", "time"),
        ({"id": " row"}, "bad_characters", "id"),
        ({"id": "a,b"}, "bad_csv", ""),
        ({"subject": '"a""b\n@example.com"'}, "bad_characters", "subject"),
        ({"subject": "=1+1"}, "", ""),
        ({"source": "nobody"}, "unknown_source", "source"),
    ],
)
def test_a_bad_row_says_what_is_wrong(
    acme: Account, clock: StoppedClock, write: Write, changes: dict[str, str], code: str, field: str
) -> None:
    said = run(write("a.csv", HEADER, row(1), row(2, **changes), row(3)))

    assert printed_outcomes(said)["recorded"] == (2 if code else 3)
    assert rejected() == ([(code, field)] if code else [])


def test_a_row_that_is_not_utf8_is_refused(acme: Account, clock: StoppedClock, write: Write) -> None:
    said = run(write("a.csv", HEADER, row(1), row(2, subject="Zoë").encode("latin-1"), row(3)))

    assert printed_outcomes(said) == {"recorded": 2, "rejected": 1}
    assert "line 3: bad_csv: The row is not UTF-8." in said


def test_a_header_alone_is_a_file_without_events(acme: Account, clock: StoppedClock, write: Write) -> None:
    assert "0 events read" in run(write("a.csv", HEADER))


def test_the_format_may_be_said(acme: Account, clock: StoppedClock, write: Write) -> None:
    assert printed_outcomes(run(write("export.txt", HEADER, row(1)), format="csv")) == {"recorded": 1}


# -- what keeps it from reading to the end ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "is empty: a CSV file begins with id,source,type,subject,time,data."),
        ("a.csv", b"id,source,type,subject,time,data,colour\n", "has a column 'colour' that is not known"),
        ("a.csv", b"id,source,type,subject,time\n", "has no column 'data'; there must be"),
        ("a.csv", b"id,id,source,type,subject,time,data\n", "names a column twice"),
        ("a.csv", b"id;source;type;subject;time;data\n", "does not begin with the names of the columns"),
        ("a.csv", row(1).encode(), "does not begin with the names of the columns"),
        ("a.csv", HEADER.encode("utf-16"), "is UTF-16: save it as UTF-8."),
        ("a.csv", HEADER.encode("utf-16-be"), "is not text in UTF-8."),
        ("a.ndjson", json.dumps({}).encode("utf-16-le"), "looks like UTF-16"),
        ("a.ndjson", b"PK\x03\x04 and so on", "is a zip archive or a workbook"),
        ("a.ndjson", b"\x1f\x8b and so on", "is compressed with gzip"),
    ],
)
def test_a_file_that_is_no_such_file_is_named(
    acme: Account, write: Write, name: str, content: bytes, sentence: str
) -> None:
    with pytest.raises(CommandError) as error:
        run(write("good.ndjson", event()), write(name, content))

    assert f"{name} {sentence}" in str(error.value)
    assert not Event.objects.exists()  # nothing is imported when one of the files cannot be


def test_a_file_that_is_not_there_is_one_sentence(acme: Account, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.csv' cannot be read: No such file or directory\.$"):
        run(tmp_path / "none.csv")
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        run(tmp_path)


def test_an_unknown_account_is_one_sentence(db: None, write: Write) -> None:
    with pytest.raises(CommandError, match=r"^There is no account 'nobody'\.$"):
        run(write("a.ndjson", event()), account="nobody")


def test_history_is_refused_to_an_account_that_is_live(acme: Account, clock: StoppedClock, write: Write) -> None:
    path = write("a.ndjson", event())
    run(path)

    with pytest.raises(CommandError, match="holds events taken in by the wall clock"):
        run(path, clock="event")


class BrokenDisk(io.BytesIO):
    """Fails after a megabyte."""

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 2**20:
            raise OSError(5, "Input/output error")
        return super().readline(size)


def test_a_disk_error_in_the_middle_is_one_sentence(
    acme: Account, clock: StoppedClock, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "BATCH_EVENTS", 10)
    broken = BrokenDisk(b"".join(as_line(event(data={"text": "x" * 50_000})) for _ in range(40)))
    files = [import_file.EventFile("a.ndjson", broken, "ndjson")]

    seen: list[import_file.Imported] = []
    with pytest.raises(event_files.BadFile, match=r"^a\.ndjson cannot be read any further: Input/output error\.$"):
        seen += import_file.import_files(acme, files, now=clock, by_event_clock=False)

    assert Event.objects.count() == 20


def test_an_account_kept_busy_is_tried_again_and_then_given_up(
    acme: Account, clock: StoppedClock, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("metering.import_file.time.sleep", waits.append)
    take_in_for, attempts = intake.take_in_for, iter([1, 2])

    def busy_at_first(*args: Any, **options: Any) -> Any:
        if next(attempts, None):
            raise AccountBusy
        return take_in_for(*args, **options)

    monkeypatch.setattr(import_file, "take_in_for", busy_at_first)
    assert printed_outcomes(run(write("a.ndjson", event()))) == {"recorded": 1}
    assert waits == [2, 2]

    attempts = iter(range(1, 100))
    with pytest.raises(CommandError, match=r"^Others keep the account acme busy\. .*nothing counts twice\.$"):
        run(write("b.ndjson", event()))


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (KeyboardInterrupt(), "Interrupted. "),
        (OperationalError("server closed the connection\nmore"), "The database failed: server closed the connection. "),
    ],
)
def test_an_interruption_says_that_repeating_is_safe(
    acme: Account, write: Write, monkeypatch: pytest.MonkeyPatch, raised: BaseException, sentence: str
) -> None:
    def interrupted(*args: Any, **options: Any) -> Any:
        raise raised

    monkeypatch.setattr(import_file, "take_in_for", interrupted)
    with pytest.raises(CommandError) as error:
        run(write("a.ndjson", event()))

    assert str(error.value).startswith(sentence)
    assert str(error.value).endswith("Import the same files again: nothing counts twice.")


# -- history ----------------------------------------------------------------------------------------------------------


def months_of_mail(events: int, *, until: datetime = NOW) -> Iterable[dict[str, Any]]:
    """Mails opened by 40 people, evenly spread over 300 days."""
    begin = until - timedelta(days=300)
    for number in range(events):
        at = begin + number * timedelta(days=300) / events
        yield event(id=f"mail-{number}", subject=f"person-{number % 40}@example.com", time=at)


@pytest.fixture
def veteran(catalogue: None) -> Account:
    account = put_account("veteran", signed_up_at=datetime(2026, 1, 1, tzinfo=UTC), plan="connect", tier="starter")
    put_connection(account, "pipedrive-mailchimp")
    return account


def periods_of(account: Account) -> list[Any]:
    columns = ("starts_at", "state", "app_connector_events", "active_contacts", "closed_at")
    return list(BillingPeriod.objects.filter(account=account).order_by("starts_at").values_list(*columns))


def test_history_fills_the_months_it_happened_in(veteran: Account, clock: StoppedClock, write: Write) -> None:
    mails = list(months_of_mail(600))
    months = sorted({mail["time"][:7] for mail in mails})
    people = {month: [mail["subject"] for mail in mails if mail["time"].startswith(month)] for month in months}

    said = run(write("a.ndjson", *mails), account="veteran", clock="event")

    assert printed_outcomes(said) == {"recorded": 600}
    assert [row[2:4] for row in periods_of(veteran)] == [
        (len(people[month]), len(set(people[month]))) for month in months
    ]
    assert [row[1] for row in periods_of(veteran)] == ["closed"] * 10 + ["open"]
    meter = AccountMeter.objects.get(account=veteran)
    assert (meter.clock, meter.holds_live_events) == (None, False)


def test_a_history_interrupted_between_batches_ends_like_one_that_was_not(
    veteran: Account, clock: StoppedClock, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "BATCH_EVENTS", 50)
    lines = list(months_of_mail(400))
    first, second = write("1.ndjson", *lines[:200]), write("2.ndjson", *lines[200:])
    replay, batches = history.replay, iter(range(6))

    def interrupted(*args: Any, **options: Any) -> Any:
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return replay(*args, **options)

    monkeypatch.setattr(history, "replay", interrupted)
    with pytest.raises(CommandError, match=r"^Interrupted\."):
        run(first, second, account="veteran", clock="event")
    assert AccountMeter.objects.get(account=veteran).clock is not None
    monkeypatch.setattr(history, "replay", replay)

    said = run(first, second, account="veteran", clock="event")

    assert printed_outcomes(said) == {"duplicate": 300, "recorded": 100}
    luckier = put_account("luckier", signed_up_at=veteran.signed_up_at, plan="connect", tier="starter")
    put_connection(luckier, "pipedrive-mailchimp")
    run(first, second, account="luckier", clock="event")
    assert periods_of(veteran) == periods_of(luckier)


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The address of the test database, for a process of its own."""
    load(NOW)
    found = connection.get_connection_params()
    server = {name: found[name] for name in ("host", "port", "user", "password") if found.get(name)}
    return f"postgresql:///{found['dbname']}?{urlencode(server)}"


def nobody_else_is_connected() -> bool:
    """Whether the server has noticed that a killed process is gone: until then its last batch may commit."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute(query)
        return bool(cursor.fetchone()[0] == 1)


def test_kill_9_half_way_through_a_history_and_repeating_it(database_url: str, write: Write) -> None:
    account = put_account("veteran", signed_up_at=datetime(2026, 1, 1, tzinfo=UTC), plan="connect", tier="starter")
    put_connection(account, "pipedrive-mailchimp")
    path = write("a.ndjson", *months_of_mail(20_000, until=datetime.now(UTC)))
    words = ["import_events", str(path), "--account", "veteran", "--clock", "event"]
    process = subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(DATABASE_URL=database_url),
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(Event.objects.exists)
    finally:
        process.kill()
        process.wait()
    eventually(nobody_else_is_connected)
    stored = Event.objects.count()
    assert 0 < stored < 20_000

    again = manage(*words, DATABASE_URL=database_url)

    assert again.returncode == 0, again.stderr
    assert printed_outcomes(again.stdout) == {"duplicate": stored, "recorded": 20_000 - stored}
    assert Event.objects.count() == 20_000
    assert sum(row[2] for row in periods_of(account)) == 20_000
    assert differences(account) == []
    assert AccountMeter.objects.get(account=account).clock is None


def test_the_command_ends_with_one_and_no_traceback(database_url: str, write: Write) -> None:
    join("acme")
    path = write("a.ndjson", "rubbish")

    good = manage("import_events", str(path), "--account", "acme", DATABASE_URL=database_url)
    bad = manage("import_events", "/nowhere.csv", "--account", "acme", DATABASE_URL=database_url)

    assert (good.returncode, bad.returncode) == (0, 1)
    assert "1 events read" in good.stdout
    assert bad.stderr == "CommandError: '/nowhere.csv' cannot be read: No such file or directory.\n"


def test_standard_input_is_a_file_too(database_url: str) -> None:
    join("acme")
    result = subprocess.run(
        [sys.executable, "manage.py", "import_events", "-", "--account", "acme"],
        input=json.dumps({**event(), "time": datetime.now(UTC).isoformat()}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment(DATABASE_URL=database_url),
    )

    assert result.returncode == 0, result.stderr
    assert printed_outcomes(result.stdout) == {"recorded": 1}
