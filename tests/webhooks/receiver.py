"""A receiver of webhooks that speaks real HTTPS on a port of this machine, does as it is told, and keeps what it heard.

    with receiver() as server:
        delivery.deliver(row.pk, now, server.net())   # the name hooks.example leads to it, and its certificate is good
        server.script(says(500, b"down"), redirects)  # one per coming request; when they are used up: 204
        …
        assert [heard.path for heard in server.heard] == ["/in"]

`ca.pem` is an authority of these tests alone; `server.pem` has a certificate by it for `hooks.example` and
`other.example`, valid until 2120, and its key.
"""

import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, override

from webhooks.https import Net
from webhooks.targets import Address

HERE: Final = Path(__file__).parent
LOOPBACK: Final = ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Heard:
    """A request. `headers` by lower-case name."""

    path: str
    headers: dict[str, str]
    body: bytes
    asked_for: str | None  # the name in the TLS handshake
    called: str  # the address that was connected to


class Handler(BaseHTTPRequestHandler):
    """Keeps the request, and answers as the script says."""

    server: "_Listener"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Whatever is posted, wherever."""
        length = int(self.headers["Content-Length"])
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.keep(self, headers, self.rfile.read(length))

    do_GET = do_POST

    @override
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


Script = Callable[[Handler], None]


def says(status: int, body: bytes = b"", **headers: str) -> Script:
    """Answer with a status and a body."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(status: int, piece: bytes = b"x" * 1024, every: float = 0) -> Script:
    """Answer with a body that never ends; a piece `every` so many seconds."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.close_connection = True
        with suppress(OSError):
            while not handler.server.over.wait(every):
                handler.wfile.write(piece)
                handler.server.written += len(piece)

    return answer


def silent(handler: Handler) -> None:
    """Say nothing until the test is over."""
    handler.server.over.wait(30)
    handler.close_connection = True


def drips(handler: Handler) -> None:
    """A status line, byte by byte: no single wait is long."""
    handler.close_connection = True
    with suppress(OSError):
        while not handler.server.over.wait(0.02):
            handler.wfile.write(b"H")


def hangs_up(handler: Handler) -> None:
    """Close without a word."""
    handler.close_connection = True


def speaks_in_tongues(handler: Handler) -> None:
    """What is no HTTP."""
    handler.close_connection = True
    handler.wfile.write(b"220 mail.example ESMTP\r\n")


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: "Receiver") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.owner, self.over, self.written = owner, threading.Event(), 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(HERE / "server.pem")
        context.sni_callback = self._note_name
        # The handshake is left to the thread of each connection: a client that is silent keeps nobody waiting.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._names: dict[int, str | None] = {}

    def _note_name(self, stream: Any, name: str | None, context: ssl.SSLContext) -> None:
        self._names[id(stream)] = name

    def keep(self, handler: Handler, headers: dict[str, str], body: bytes) -> None:
        stream: Any = handler.connection
        asked_for, called = self._names.get(id(stream)), str(stream.getsockname()[0])
        self.owner.heard.append(Heard(handler.path, headers, body, asked_for, called))
        script = self.owner.scripts.popleft() if self.owner.scripts else says(204)
        script(handler)

    @override
    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.owner.connections += 1
        return True

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not like our certificate says so: that is no error of the test's."""


class Receiver:
    """What `receiver` hands out."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.connections = 0
        self.scripts: deque[Script] = deque()
        self.listener = _Listener(self)

    @property
    def port(self) -> int:
        return int(self.listener.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens, by the name that its certificate has."""
        return f"https://hooks.example:{self.port}/in"

    @property
    def written(self) -> int:
        """Bytes of bodies without an end that clients have taken."""
        return self.listener.written

    def script(self, *answers: Script) -> None:
        """What to do with the coming requests, in turn."""
        self.scripts.extend(answers)

    def net(self, **changes: Any) -> Net:
        """A world in which every name leads here, this machine is public, and our authority is trusted."""
        usual: dict[str, Any] = {
            "resolve": lambda host, port: ["127.0.0.1"],
            "is_allowed": lambda address: address == LOOPBACK,
            "trust": trust,
            "seconds": 5,
        }
        return Net(**usual | changes)


def trust() -> ssl.SSLContext:
    """As by default, but for who vouches."""
    return ssl.create_default_context(cafile=str(HERE / "ca.pem"))


def everything_is_allowed(address: Address) -> bool:
    """No guard at all."""
    return True


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that runs meanwhile."""
    server = Receiver()
    thread = threading.Thread(target=server.listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.listener.over.set()
        server.listener.shutdown()
        server.listener.server_close()
        thread.join(5)
