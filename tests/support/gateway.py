"""A real TCP gateway in front of a server, which can go down: nothing listens then, and open connections are gone."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from deployments.free_ports import free_ports

HOST = "127.0.0.1"
CHUNK = 65536


class Gateway:
    """Passes bytes on to the server that `through` was told of, from a port that stays the same."""

    def __init__(self) -> None:
        self._port = free_ports(1)[0]
        self._behind = (HOST, 0)
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def through(self, url: str) -> str:
        """The address at which the server of `url` is reached by way of the gateway."""
        server = urlsplit(url)
        assert server.hostname is not None
        assert server.port is not None
        self._behind = (server.hostname, server.port)
        return server._replace(netloc=f"{HOST}:{self._port}").geturl()

    def up(self) -> None:
        """Listen."""
        self._listener = socket.create_server((HOST, self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and end those that are open. Idempotent."""
        if self._listener is not None:
            _end(self._listener)
            self._listener = None
        for one in list(self._connections):
            _end(one)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._behind)
        except OSError:
            _end(client)
            return
        self._connections |= {client, server}
        back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        back.start()
        _pass_on(client, server)
        back.join()
        self._connections -= {client, server}


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(one: socket.socket) -> None:
    """Closing alone wakes nobody who waits for it in another thread."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
