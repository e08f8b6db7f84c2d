"""The site and its task cluster as one foreground process tree, which ends as a whole however it ends.

Each child leads a session of its own: a terminal's Ctrl-C reaches only us and we pass on one SIGTERM, and
all that a child has started can be ended by its group. Beside the children runs `watchdog`, which ends them
should we be killed.
"""

import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 20  # from being asked to end to being killed; gunicorn gives its requests 10 of them
LOOK_SECONDS = 0.1  # between two looks at the children
SILENCE = 5  # seconds
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

type OnReady = Callable[[str], None]


class CannotListen(Exception):
    """Host and port cannot be served; the message says why in one sentence."""


def serve_forever(
    host: str,
    port: int,
    workers: int,
    with_tasks: bool,
    on_ready: OnReady | None = None,
) -> int:
    """Run the site, and `with_tasks` the task cluster, until a signal or until one of them ends by itself.

    `on_ready` is called once with the site's address when it answers; links lead there unless there is a BASE_URL.
    Port 0 is any free port. Returns the exit code: 0 if a signal ended it, 1 otherwise. Raises CannotListen. To be
    called from the main thread.
    """
    with _listener(host, port) as listener:
        commands = {"web": _web_command(listener.fileno(), workers)}
        if with_tasks:
            commands["tasks"] = [sys.executable, str(ROOT / "manage.py"), "qcluster"]
        with _signals_noted() as signals, _watchdog() as watch:
            children = _start(commands, listener, watch)
            try:
                return _until_the_end(children, signals, listener, on_ready)
            finally:
                _end(children, signals)
                watch.kill()  # nothing is left to watch


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    """The socket to serve on. We open it and gunicorn inherits it: so a busy port is known at once."""
    if not 0 <= port <= 65535:
        raise CannotListen(f"Port {port} cannot be served: there are ports up to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # create_server adds the address to the system's words; an unknown host has no number of the system's.
        number = error.errno or 0
        reason = os.strerror(number) if number in errno.errorcode else error.strerror
        raise CannotListen(f"Port {port} on {host} cannot be served: {reason}. Choose another with --port.") from error
    with listener:
        # Every connection inherits it: who begins a request and falls silent holds a thread for so long, not for ever.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE, 0))
        yield listener


def _web_command(listener: int, workers: int) -> list[str]:
    options = {
        "--worker-class": "gthread",
        "--workers": str(workers),
        "--threads": "16",
        "--bind": f"fd://{listener}",
        "--timeout": "60",
        "--graceful-timeout": "10",
        "--log-level": "warning",
        "--chdir": str(ROOT),
    }
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "gunicorn", "billing_site.wsgi", "--no-control-socket", *words]


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """The signals that ask us to stop, noted instead of obeyed; afterwards all is as before."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watchdog() -> Iterator[Popen[bytes]]:
    """The process that outlives us. It holds the reading end of a pipe that nobody but us can write to."""
    watchdog = Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "billing_site.watchdog", str(GRACE_SECONDS)],
        stdin=PIPE,
        stdout=DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield watchdog
    finally:
        if watchdog.stdin:
            with suppress(BrokenPipeError):
                watchdog.stdin.close()
        watchdog.wait()


def _start(
    commands: Mapping[str, list[str]], listener: socket.socket, watchdog: Popen[bytes]
) -> dict[str, Popen[bytes]]:
    children: dict[str, Popen[bytes]] = {}
    environment = os.environ | {"BASE_URL": os.environ.get("BASE_URL") or _url(listener).rstrip("/")}
    for name, command in commands.items():
        inherited = [listener.fileno()] if name == "web" else []
        children[name] = Popen(  # noqa: S603 - our own commands
            command, stdin=DEVNULL, cwd=ROOT, env=environment, start_new_session=True, pass_fds=inherited
        )
        if watchdog.stdin:
            watchdog.stdin.write(f"{children[name].pid}\n".encode())
            watchdog.stdin.flush()
    return children


def _address(listener: socket.socket) -> tuple[str, int]:
    """Where to reach the listener from this machine."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def _url(listener: socket.socket) -> str:
    host, port = _address(listener)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@contextmanager
def _knock(listener: socket.socket) -> Iterator[socket.socket]:
    """A request that waits in the listener's queue: something to read on it means that the site is up."""
    with socket.create_connection(_address(listener)) as knock:
        knock.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        yield knock


def _until_the_end(
    children: Mapping[str, Popen[bytes]],
    signals: list[int],
    listener: socket.socket,
    on_ready: OnReady | None,
) -> int:
    """Wait for a signal (0) or for a child that ends although nobody asked it to (1)."""
    with _knock(listener) as knock:
        unanswered = [knock]
        while not signals:
            for name, child in children.items():
                if child.poll() is not None:
                    _say(f"{name} ended by itself ({_meaning(child.returncode)}): stopping the rest")
                    return 1
            answered = select.select(unanswered, [], [], LOOK_SECONDS)[0]
            if answered:
                unanswered = []
                if on_ready:
                    on_ready(_url(listener))
    return 0


def _end(children: Mapping[str, Popen[bytes]], signals: list[int]) -> None:
    """Ask every child to end, and kill what is left after the grace, or at once if a second signal comes."""
    for child in children.values():
        child.terminate()
    asked_before = len(signals)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(child.poll() is None for child in children.values()):
        if len(signals) > asked_before or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for name, child in children.items():
        if child.poll() is None:
            _say(f"{name} has not ended: killing it")
        # Also after a child that has ended: one that crashed may have left processes of its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _meaning(returncode: int) -> str:
    if returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit code {returncode}"


def _say(line: str) -> None:
    print(f"serve: {line}", file=sys.stderr, flush=True)
