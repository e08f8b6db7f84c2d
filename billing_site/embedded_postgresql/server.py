"""Starts and stops the embedded PostgreSQL of a DATA_DIR: one server for all, however many start it at once.

Whether it runs is judged by its process and by talking to it, not by its pid file alone: that survives
`kill -9` and a copied checkout, and in a container whose first process buries nobody, its process is a
zombie.
"""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from billing_site.embedded_postgresql.places import (
    DevdbError,
    Place,
    home_of_cluster,
    own_folder,
    programs,
    run_as,
)

if TYPE_CHECKING:
    import psutil

DATABASE = "headcount"
USER = "postgres"
START_SECONDS = 120  # crash recovery of a big development database takes its time
STOP_SECONDS = 60
# After a kill -9 the children may hold the shared memory for a moment, and PostgreSQL refuses to start.
WAITS_BETWEEN_STARTS = (0.2, 0.5, 1.0, 3.0, 5.0)
OPTIONS = {"listen_addresses": "", "max_connections": "100", "unix_socket_permissions": "0700"}


def start(place: Place) -> None:
    """Have the server running with its database in it; mostly it does already. DevdbError if it cannot be."""
    with _alone(place):
        if not _runs(place):
            _start(place)
        _make_database(place)


def stop(place: Place) -> bool:
    """Stop the server, leaving no process of it; False if there was none."""
    with _alone(place):
        return _stop_any(place)


def erase(place: Place) -> None:
    """Stop the server and remove its files."""
    with _alone(place):
        _stop_any(place)
        try:
            if place.is_linked():
                place.beside_us.unlink()
            elif place.beside_us.exists():
                shutil.rmtree(place.beside_us)
            if place.shared.exists():
                shutil.rmtree(place.shared)
        except OSError as error:
            raise DevdbError(f"{error.filename} could not be removed: {error.strerror}.") from error


def running_version(place: Place) -> tuple[int, str] | None:
    """Process id and version of the running server, or None. Starts nothing."""
    process = _postmaster(place.cluster)
    if process is None:
        return None
    try:
        with _connect(place) as connection:
            version = connection.info.server_version
    except psycopg.OperationalError:
        return None
    return process.pid, f"{version // 10000}.{version % 10000}"


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """One process at a time starts or stops the server of a DATA_DIR; the others wait here."""
    try:
        place.data_dir.mkdir(parents=True, exist_ok=True)
        # For reading only: root may have made the file, and a lock needs no more.
        lock = os.open(place.data_dir / "devdb.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise DevdbError(
            f"{error.filename}: {error.strerror}. Set DATA_DIR to a folder of yours, or DATABASE_URL."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _connect(place: Place, database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(host=str(place.socket_dir), user=USER, dbname=database, autocommit=True, connect_timeout=10)


def _runs(place: Place) -> bool:
    """Whether the server of *these* files answers; one that is starting up counts, after a wait."""
    process = _postmaster(place.cluster)
    if process is None:
        return False
    if _socket_dir_said_by(place.cluster) != str(place.socket_dir):  # the checkout was moved under a running server
        _end(process, politely=False)
        return False
    return _wait_until_ready(place, process)


def _postmaster(cluster: Path) -> "psutil.Process | None":
    """The live server of this cluster, by its pid file; None if the file is stale.

    Its working directory tells it from a process that got the same number later, and from the server of the
    checkout that this one was copied from.
    """
    return _server_process(_first_number(cluster / "postmaster.pid"), cluster)


def _server_process(pid: int | None, cluster: Path | None = None) -> "psutil.Process | None":
    import psutil  # comes with the embedded server, which production does without

    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
            return None
        if cluster is not None and not os.path.samefile(process.cwd(), cluster):
            return None
    except (psutil.NoSuchProcess, FileNotFoundError):
        return None
    except psutil.AccessDenied as error:
        raise DevdbError(
            f"The PostgreSQL in {cluster} (process {pid}) is run by somebody else: set DATA_DIR elsewhere."
        ) from error
    return process


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text(errors="replace").split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    except PermissionError as error:
        raise DevdbError(_belongs_to_another(path.parent)) from error


def _socket_dir_said_by(cluster: Path) -> str | None:
    """The fifth line of the pid file. It is written a moment after the first ones; until then None."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        if len(lines) >= 5:
            return lines[4]
        time.sleep(0.05)
    return None


def _start(place: Place) -> None:
    own_folder(place.shared, mode=0o755, user=place.holder)
    own_folder(place.socket_dir, mode=0o700, user=place.user)
    _end_stranger(place)
    cluster = home_of_cluster(place)
    binaries = programs(place)
    _take_over(place, cluster)
    if not (cluster / "PG_VERSION").exists():
        _initialise(place, cluster, binaries)
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    for wait in (*WAITS_BETWEEN_STARTS, None):
        process = _launch(place, cluster, binaries)
        if process and _wait_until_ready(place, process):
            return
        if wait is not None:
            time.sleep(wait)
    raise DevdbError(
        f"PostgreSQL did not start: {_last_line(cluster / 'log')} See {cluster / 'log'}; "
        "`manage.py devdb reset` begins anew, without the data."
    )


def _take_over(place: Place, cluster: Path) -> None:
    """Make the files those of the server's user: as root whoever had them, and he may not exist any more."""
    try:
        owner = cluster.stat().st_uid
    except FileNotFoundError:
        return
    if place.user is None:
        if owner != os.geteuid():
            raise DevdbError(_belongs_to_another(cluster))
    elif owner != place.user.pw_uid:
        for folder, _, files in os.walk(cluster, topdown=False):  # the top last: an interrupted take-over is repeated
            for path in [*(Path(folder, name) for name in files), Path(folder)]:
                os.chown(path, place.user.pw_uid, place.user.pw_gid, follow_symlinks=False)


def _belongs_to_another(folder: Path) -> str:
    uid = folder.stat().st_uid
    name = f"uid {uid}"
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return f"{folder} belongs to {name}: set DATA_DIR to another folder, or reset it as root."


def _initialise(place: Place, cluster: Path, binaries: Path) -> None:
    """Make a new cluster, whole or not at all: it gets its name when it is complete."""
    draft = cluster.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(cluster, ignore_errors=True)  # has no PG_VERSION: never was one
    own_folder(draft, mode=0o700, user=place.user)
    options = {
        "--username": USER,
        "--auth": "trust",
        "--encoding": "UTF8",
        # Built in, so the same on every machine: sorts by code point and knows the case of every letter.
        "--locale": "C",
        "--locale-provider": "builtin",
        "--builtin-locale": "C.UTF-8",
    }
    words = [word for option in options.items() for word in option]
    place.output.unlink(missing_ok=True)  # it may be root's, of another time
    with place.output.open("wb") as output:
        failed = run_as(place.user, [binaries / "initdb", "--pgdata", draft, *words], stdout=output).returncode != 0
    if failed:
        raise DevdbError(f"PostgreSQL could not be set up: {_last_line(place.output)} See {place.output}.")
    draft.rename(cluster)


def _end_stranger(place: Place) -> None:
    """End a server that sits on our socket (its files were removed under it), remove what a dead one left.

    PostgreSQL itself is fooled by a zombie, a reused process number and a copied pid file. Whether an
    earlier server still uses our files it finds out by its shared memory, whatever we remove.
    """
    socket = place.socket_dir / ".s.PGSQL.5432"
    lock = socket.with_name(f"{socket.name}.lock")
    if stranger := _server_process(_first_number(lock)):
        _end(stranger, politely=False)
    for leftover in (socket, lock):
        leftover.unlink(missing_ok=True)


def _launch(place: Place, cluster: Path, binaries: Path) -> "psutil.Process | None":
    """Run the server in the background, in a session of its own; None if it ended at once.

    A shell does what `pg_ctl` would, but reads no path as a command.
    """
    script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
    command: list[str | Path] = ["/bin/sh", "-c", script, "sh", cluster / "log"]
    command += [binaries / "postgres", "-D", cluster, "-k", place.socket_dir]
    command += [f"--{name}={value}" for name, value in OPTIONS.items()]
    launched = run_as(place.user, command, stdout=subprocess.PIPE, new_session=True)
    pid = int(launched.stdout)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # between fork and exec the process is still called sh
        if process := _server_process(pid):
            return process
        time.sleep(0.01)
    return None


def _wait_until_ready(place: Place, process: "psutil.Process") -> bool:
    """Wait until the server answers; False if it ended instead."""
    deadline = time.monotonic() + START_SECONDS
    while _server_process(process.pid):
        try:
            _connect(place).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise DevdbError(
                    f"PostgreSQL (process {process.pid}) did not answer within {START_SECONDS} s."
                ) from None
            time.sleep(0.05)
        else:
            return True
    return False


def _make_database(place: Place) -> None:
    with _connect(place) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _stop_any(place: Place) -> bool:
    process = _postmaster(place.cluster)
    if process:
        _end(process, politely=True)
    if place.socket_dir.exists():
        _end_stranger(place)
    return process is not None


def _end(process: "psutil.Process", *, politely: bool) -> None:
    """End a server and all its children.

    A polite end writes a last checkpoint, by the path the files had at the start. A server whose files were
    removed or moved must not do that: it would write into whatever is there now.
    """
    import psutil

    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    demands = [(signal.SIGQUIT, 10)]
    if politely:
        demands.insert(0, (signal.SIGINT, STOP_SECONDS))
    for demand, seconds in demands:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(demand)
        if _gone(process, seconds):
            break
    for member in family:
        if not _gone(member, 1):
            member.kill()


def _gone(process: "psutil.Process", seconds: float) -> bool:
    """Whether the process ends within that time. A zombie has ended: nobody may be there to bury it."""
    deadline = time.monotonic() + seconds
    while _server_process(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return _server_process(process.pid) is None


def _last_line(path: Path) -> str:
    with suppress(OSError):
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return ""
