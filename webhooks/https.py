"""Post to a URL that others gave us: to an address that was looked at, over TLS, once, and in bounded time.

The name is resolved once, every address it has is looked at, and the connection is made to one of those: a resolver
that answers otherwise the next time is not asked a next time. The certificate must be that of the name.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from ipaddress import ip_address
from threading import Thread
from typing import Final

from webhooks.targets import Address, BadTarget, Target, is_public, target_of

MOST_READ: Final = 64 * 1024
"""Bytes of an answer's body; what follows is left unread."""

LONGEST_EXCERPT: Final = 500
THREAD: Final = "webhook"


class NoAnswer(Exception):
    """Nobody answered in HTTP, or nobody could be asked. The text says what happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and of one that is no success the beginning of its body as text."""

    status: int
    excerpt: str


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, the preferred one first, as the system's resolver has them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True, slots=True)
class Net:
    """How the world is reached. `seconds` is for all of it: name, connection, TLS, question and answer."""

    resolve: Callable[[str, int], list[str]] = resolve
    is_allowed: Callable[[Address], bool] = is_public
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context
    seconds: float = 10


INTERNET: Final = Net()


def post(url: str, body: bytes, headers: Mapping[str, str], net: Net = INTERNET) -> Answer:
    """Post once, and return whatever the answer is; a redirect is an answer like others. Raises `NoAnswer`."""
    try:
        attempt = _Attempt(target_of(url), body, headers, net)
    except BadTarget as error:
        raise NoAnswer(str(error)) from error
    # In a thread, for a resolver knows no timeout, and who drips byte after byte never meets a socket's.
    thread = Thread(target=attempt.run, name=THREAD, daemon=True)
    thread.start()
    thread.join(net.seconds)
    took_too_long = thread.is_alive()
    if took_too_long:
        attempt.abandon()
    if attempt.answer is not None:
        return attempt.answer
    if attempt.failure is None or took_too_long:
        raise NoAnswer(f"no answer within {net.seconds:g} seconds")
    raise attempt.failure


class _Attempt:
    """One conversation. `answer` is there as soon as the status is known, `failure` if there will be none."""

    def __init__(self, target: Target, body: bytes, headers: Mapping[str, str], net: Net) -> None:
        self.target, self.body, self.headers, self.net = target, body, headers, net
        self.answer: Answer | None = None
        self.failure: Exception | None = None
        self._socket: socket.socket | None = None
        self._abandoned = False

    def run(self) -> None:
        """Sets `answer` or `failure`."""
        try:
            self._talk()
        except NoAnswer as error:
            self.failure = error
        except (OSError, HTTPException, UnicodeError, ValueError) as error:
            self.failure = NoAnswer(_in_words(error))
        except Exception as error:  # a defect, to be raised where it is seen
            self.failure = error
        finally:
            if self._socket is not None:
                self._socket.close()

    def abandon(self) -> None:
        """The time is over: whatever it waits for comes to an end."""
        self._abandoned = True
        if self._socket is not None:
            try:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # it is over already

    def _talk(self) -> None:
        context = self.net.trust()
        stream = self._encrypted(self._connected(), context)
        connection = HTTPSConnection(self.target.host, self.target.port, context=context)
        connection.sock = stream
        connection.request("POST", self.target.path, self.body, {"Connection": "close", **self.headers})
        with connection.getresponse() as response:
            self.answer = Answer(response.status, "")
            if not 200 <= response.status < 300:
                self.answer = Answer(response.status, _plain(response.read(MOST_READ)))

    def _connected(self) -> socket.socket:
        """A connection to the first address that can be reached, of a host all of whose addresses are allowed."""
        addresses = list(dict.fromkeys(self.net.resolve(self.target.host, self.target.port)))
        if not addresses:
            raise NoAnswer("the host has no address")
        if forbidden := [each for each in addresses if not self.net.is_allowed(ip_address(each))]:
            raise NoAnswer(f"the host has the private or reserved address {forbidden[0]}: webhooks never go there")
        failure: OSError | None = None
        for address in addresses:
            if self._abandoned:
                break
            try:
                place = (address, self.target.port)
                return self._kept(socket.create_connection(place, self.net.seconds / len(addresses)))
            except OSError as error:
                failure = error
        raise failure or NoAnswer("the time was over")

    def _encrypted(self, plain: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain.settimeout(self.net.seconds)
        stream = context.wrap_socket(plain, server_hostname=self.target.host, do_handshake_on_connect=False)
        self._kept(stream)
        stream.do_handshake()
        return stream

    def _kept[Socket: socket.socket](self, made: Socket) -> Socket:
        """The socket, where `abandon` finds it."""
        self._socket = made
        if self._abandoned:
            raise NoAnswer("the time was over")
        return made


def _in_words(error: Exception) -> str:
    return _plain(f"no answer: {type(error).__name__}: {error}".encode(errors="replace"))


def _plain(text: bytes) -> str:
    """What a database can store and a page can show of it."""
    words = text.decode(errors="replace").replace("\0", "")
    return " ".join(words.split())[:LONGEST_EXCERPT]
