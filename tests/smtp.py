"""A mail server that speaks real SMTP on a port of this machine, does as it is told, and keeps what it accepted.

    with smtp_server() as server:
        settings.MAILERS = server.mailers()        # or EMAIL_URL=server.url, for another process
        server.script({"RCPT": "451 later"}, OK)   # one per coming conversation; when they are used up: OK
        …
        assert [mail["Subject"] for mail in server.messages] == ["…"]

A script says what to answer instead when the client has just done something: `CONNECT`, `EHLO`, `AUTH`, `MAIL`,
`RCPT`, `DATA` or `END` (of the mail's text). The answer is a line such as "550 no such user", or DISCONNECT, SILENT
(until the client goes), or KEEP_AND_DISCONNECT (at END: the mail is taken, and nobody is told).
"""

import socketserver
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from time import monotonic
from typing import Any, Final, override

from billing_site import environment

Script = Mapping[str, str]

DISCONNECT: Final = "disconnect"
SILENT: Final = "silent"
KEEP_AND_DISCONNECT: Final = "keep and disconnect"

OK: Final[Script] = {}

USUAL: Final = {
    "CONNECT": "220 tests ESMTP",
    "EHLO": "250-tests\r\n250 AUTH PLAIN",
    "HELO": "250 tests",
    "AUTH": "235 welcome",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    "END": "250 taken",
    "RSET": "250 ok",
    "NOOP": "250 ok",
    "QUIT": "221 bye",
}


class SmtpServer:
    """What `smtp_server` hands out. `messages` are the accepted mails, in order; `sent_to` their recipients."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.sent_to: list[list[str]] = []
        self.conversations = 0
        self._scripts: deque[Script] = deque()
        self._changed = threading.Condition()
        self._port = 0
        self._running: tuple[_Listener, threading.Thread] | None = None

    @property
    def url(self) -> str:
        """For EMAIL_URL. The port stays the same when the server is stopped and started again."""
        return f"smtp://127.0.0.1:{self._port}"

    def mailers(self, *, url: str = "", timeout: float = 5) -> dict[str, dict[str, Any]]:
        """For `settings.MAILERS`, as `EMAIL_URL` would make it; `timeout` in seconds."""
        made = environment.mailers("EMAIL_URL_THAT_NOBODY_SETS", default=url or self.url)
        made["default"]["OPTIONS"]["timeout"] = timeout
        return made

    def script(self, *conversations: Script) -> None:
        """How the coming conversations go, one each."""
        self._scripts.extend(conversations)

    def wait_for(self, count: int, *, seconds: float = 30) -> list[EmailMessage]:
        """The messages, as soon as there are so many; fails when they do not come in time."""
        until = monotonic() + seconds
        with self._changed:
            while len(self.messages) < count:
                left = until - monotonic()
                assert left > 0, f"{len(self.messages)} mails of {count} came in {seconds} s"
                self._changed.wait(left)
            return list(self.messages)

    def start(self) -> None:
        """Listen, again if need be."""
        assert self._running is None, "the mail server runs already"
        listener = _Listener(("127.0.0.1", self._port), self)
        self._port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self._running = listener, thread

    def stop(self) -> None:
        """Refuse connections from here on, and end those that there are."""
        if self._running is None:
            return
        listener, thread = self._running
        self._running = None
        listener.going_down.set()
        listener.shutdown()
        thread.join()
        listener.server_close()

    def _next_script(self) -> Script:
        with self._changed:
            self.conversations += 1
            return self._scripts.popleft() if self._scripts else OK

    def _keep(self, content: bytes, recipients: list[str]) -> None:
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        with self._changed:
            self.messages.append(message)
            self.sent_to.append(recipients)
            self._changed.notify_all()


@contextmanager
def smtp_server() -> Iterator[SmtpServer]:
    """A running mail server."""
    server = SmtpServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False  # so that closing waits for the conversations, which end when it goes down

    def __init__(self, address: tuple[str, int], server: SmtpServer) -> None:
        self.mail_server = server
        self.going_down = threading.Event()
        super().__init__(address, _Conversation)


class _Conversation(socketserver.StreamRequestHandler):
    server: _Listener
    timeout = 0.1  # how often a conversation looks whether the server goes down

    @override
    def handle(self) -> None:
        self.script = self.server.mail_server._next_script()
        self.recipients: list[str] = []
        with suppress(ConnectionError):
            if not self.answer("CONNECT"):
                return
            while line := self.line():
                verb = line[:4].decode(errors="replace").strip().upper()
                if verb == "RCPT":
                    self.recipients.append(line.decode().partition(":")[2].split(">")[0].strip(" <\r\n"))
                if not self.answer(verb) or verb == "QUIT":
                    return
                if verb == "DATA" and self.said.startswith("354") and not self.take():
                    return

    def answer(self, what: str, content: bytes | None = None) -> bool:
        """Answer as told or as usual; False: the conversation is over."""
        self.said = self.script.get(what) or USUAL.get(what, "502 what?")
        if self.said == SILENT:
            while self.line():
                pass
            return False
        if content is not None and (self.said.startswith("250") or self.said == KEEP_AND_DISCONNECT):
            self.server.mail_server._keep(content, self.recipients)
        if self.said in (DISCONNECT, KEEP_AND_DISCONNECT):
            return False
        self.wfile.write(f"{self.said}\r\n".encode())
        return not self.said.startswith("421")

    def take(self) -> bool:
        """Read a mail's text and answer to it; False: the conversation is over."""
        lines = []
        while (line := self.line()) != b".\r\n":
            if not line:
                return False
            lines.append(line.removeprefix(b"."))
        return self.answer("END", b"".join(lines))

    def line(self) -> bytes:
        """What the client says next; nothing when it has gone or the server goes down."""
        line = b""
        while not line.endswith(b"\n"):
            try:
                got = self.request.recv(1)
            except TimeoutError:
                if self.server.going_down.is_set():
                    return b""
                continue
            if not got:
                return b""
            line += got
        return line
