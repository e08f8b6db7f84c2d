"""The embedded PostgreSQL survives what happens on developers' machines. Real servers are started here."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path

import psutil
import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.utils import ConnectionHandler

from billing_site import devdb
from billing_site.embedded_postgresql.places import place_of
from tests.billing_site.programs import ROOT, eventually, manage

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="headcount-test-"))
    path.chmod(0o755)
    yield path
    for data_dir in path.rglob("devdb.lock"):
        devdb.reset(data_dir.parent)
    shutil.rmtree(path)


@pytest.fixture
def data_dir(folder: Path) -> Path:
    return folder / ".data"


def server_of(data_dir: Path) -> int:
    """The process id of the server, which must answer."""
    status = devdb.status(data_dir)
    assert status is not None
    return int(status.split("process ")[1].split(",")[0])


def write(data_dir: Path, word: str) -> None:
    with psycopg.connect(devdb.url(data_dir), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])


def words(data_dir: Path) -> list[str]:
    with psycopg.connect(devdb.url(data_dir)) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


def kill_server(data_dir: Path) -> None:
    process = psutil.Process(server_of(data_dir))
    process.kill()
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_settings_and_commands_that_need_no_database_start_none(data_dir: Path) -> None:
    assert manage("check", DATA_DIR=data_dir).returncode == 0

    assert devdb.status(data_dir) is None
    assert not data_dir.exists()


def test_many_processes_that_start_it_at_once_share_one_server(data_dir: Path) -> None:
    start = "import sys, pathlib; from billing_site import devdb; devdb.start(pathlib.Path(sys.argv[1]))"
    processes = [subprocess.Popen([sys.executable, "-c", start, data_dir], cwd=ROOT) for _ in range(6)]

    assert [process.wait() for process in processes] == [0] * 6
    cluster = str(data_dir / "postgres")
    servers = [p for p in psutil.process_iter(["cmdline"]) if cluster in (p.info["cmdline"] or [])]
    assert [server.pid for server in servers] == [server_of(data_dir)]


def test_stop_leaves_no_process_and_keeps_the_data(data_dir: Path) -> None:
    devdb.start(data_dir)
    write(data_dir, "kept")
    family = psutil.Process(server_of(data_dir)).children(recursive=True)

    assert devdb.stop(data_dir) is True

    assert devdb.status(data_dir) is None
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert devdb.stop(data_dir) is False
    devdb.start(data_dir)
    assert words(data_dir) == ["kept"]


def test_djangos_connection_starts_the_server_and_finds_it_again_after_kill_9(data_dir: Path) -> None:
    def connect(database: str | None) -> str:
        wrapper = ConnectionHandler({"default": devdb.database(data_dir)})["default"]
        wrapper.settings_dict["NAME"] = database
        with wrapper.get_new_connection(wrapper.get_connection_params()) as connection:
            return str(connection.info.dbname)

    assert connect("headcount") == "headcount"
    write(data_dir, "committed")

    kill_server(data_dir)

    assert connect(None) == "postgres"  # as the test runner connects, to make its own database
    assert words(data_dir) == ["committed"]
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect("never_made")


def test_a_pid_file_of_a_zombie_or_of_another_program_fools_nobody(data_dir: Path, folder: Path) -> None:
    devdb.start(data_dir)
    devdb.stop(data_dir)
    (folder / "postgres").symlink_to("/bin/true")
    zombie = subprocess.Popen([folder / "postgres"])  # nobody waits for it before the end of this test
    eventually(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE)

    for pid in (zombie.pid, os.getpid()):
        (data_dir / "postgres/postmaster.pid").write_text(f"{pid}\n{data_dir / 'postgres'}\n")
        lock = place_of(data_dir).socket_dir / ".s.PGSQL.5432.lock"
        lock.write_text(f"{pid}\n")
        devdb.start(data_dir)
        assert server_of(data_dir) != pid
        devdb.stop(data_dir)
    zombie.wait()


def test_a_copied_checkout_gets_a_server_of_its_own(data_dir: Path, folder: Path) -> None:
    devdb.start(data_dir)
    write(data_dir, "before")
    copy = folder / "copy"
    shutil.copytree(data_dir, copy)

    devdb.start(copy)
    write(copy, "only in the copy")

    assert server_of(copy) != server_of(data_dir)
    assert words(data_dir) == ["before"]
    assert words(copy) == ["before", "only in the copy"]


def test_a_checkout_moved_under_its_running_server_keeps_its_data(data_dir: Path, folder: Path) -> None:
    devdb.start(data_dir)
    write(data_dir, "moved")
    moved = data_dir.rename(folder / "moved")

    devdb.start(moved)

    assert words(moved) == ["moved"]
    shutil.rmtree(place_of(data_dir).shared)


def test_removing_the_folder_of_a_running_server_begins_anew(data_dir: Path) -> None:
    devdb.start(data_dir)
    write(data_dir, "gone")
    orphan = psutil.Process(server_of(data_dir))
    shutil.rmtree(data_dir)

    devdb.start(data_dir)

    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(psycopg.errors.UndefinedTable):
        words(data_dir)


def test_long_paths_and_odd_characters_do_no_harm(folder: Path) -> None:
    data_dir = folder / "$(touch oops) `id` \"'é☃ %s" / ("long" * 25) / ".data"

    devdb.start(data_dir)

    assert server_of(data_dir)
    assert not list(folder.rglob("oops"))


def test_a_folder_of_somebody_else_in_the_shared_place_is_refused(data_dir: Path, tmp_path: Path) -> None:
    shared = place_of(data_dir).shared
    shared.symlink_to(tmp_path)
    try:
        with pytest.raises(devdb.DevdbError, match="in the way"):
            devdb.start(data_dir)
    finally:
        shared.unlink()


@as_root
def test_as_root_a_private_home_stays_private(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    data_dir = home / "checkout" / ".data"

    devdb.start(data_dir)

    assert home.stat().st_mode & 0o777 == 0o700
    assert psutil.Process(server_of(data_dir)).username() == "nobody"
    assert place_of(data_dir).elsewhere.is_dir()
    write(data_dir, "private")
    copy = shutil.copytree(data_dir, home / "copy", symlinks=True)
    devdb.start(copy)
    assert server_of(copy) != server_of(data_dir)
    shutil.rmtree(data_dir)  # as a checkout is, and cloned again
    devdb.start(data_dir)
    with pytest.raises(psycopg.errors.UndefinedTable):
        words(data_dir)


@as_root
def test_as_root_the_data_of_a_vanished_user_is_taken_over(data_dir: Path) -> None:
    devdb.start(data_dir)
    write(data_dir, "inherited")
    devdb.stop(data_dir)
    vanished = next(uid for uid in range(54321, 60000) if not _exists(uid))
    for path in [data_dir / "postgres", *(data_dir / "postgres").rglob("*")]:
        os.chown(path, vanished, vanished)

    devdb.start(data_dir)

    assert words(data_dir) == ["inherited"]


def _exists(uid: int) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwuid(uid))
    return False


@as_root
def test_as_root_the_data_of_a_user_stays_his(data_dir: Path) -> None:
    somebody = next(user for user in pwd.getpwall() if user.pw_uid not in {0, pwd.getpwnam("nobody").pw_uid})
    devdb.start(data_dir)
    devdb.stop(data_dir)
    shutil.rmtree(place_of(data_dir).shared)  # that of `nobody`
    for path in [data_dir / "postgres", *(data_dir / "postgres").rglob("*")]:
        os.chown(path, somebody.pw_uid, somebody.pw_gid)

    devdb.start(data_dir)

    assert psutil.Process(server_of(data_dir)).username() == somebody.pw_name
    assert (data_dir / "postgres").stat().st_uid == somebody.pw_uid


def test_the_command_starts_shows_resets_and_stops(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "DATA_DIR", str(data_dir))

    def said(action: str) -> str:
        out = StringIO()
        call_command("devdb", action, stdout=out)
        return out.getvalue().strip()

    with pytest.raises(CommandError, match="not running"):
        said("status")
    assert said("url") == devdb.url(data_dir)
    assert said("status").startswith("running: PostgreSQL 18")
    write(data_dir, "gone")
    assert said("reset") == "removed; the next connection begins anew"  # no terminal, so nobody to ask
    assert not (data_dir / "postgres").exists()
    assert said("stop") == "it was not running"
    assert said("start").startswith("running: ")


def test_the_command_has_nothing_to_do_with_a_database_of_yours() -> None:
    refused = manage("devdb", "start", DATABASE_URL="postgresql://me@db.example.com/headcount")

    assert refused.returncode == 1
    assert refused.stderr == "CommandError: DATABASE_URL is set, so there is no embedded PostgreSQL here.\n"


def test_a_data_dir_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused = manage("migrate", "--check", DATA_DIR=tmp_path / "file" / ".data")

    assert refused.returncode == 1
    assert "Set DATA_DIR" in refused.stderr
    assert "Traceback" not in refused.stderr
