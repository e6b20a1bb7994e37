"""A proxy as small as possible: each connection goes to the next server that accepts it."""

from __future__ import annotations

import contextlib
import socket
import threading


class TcpProxy:
    """Args:
    ports: of the servers, on this machine.
    """

    def __init__(self, *ports: int) -> None:
        self._ports = list(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._ports.append(self._ports.pop(0))
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        for port in list(self._ports):
            with contextlib.suppress(OSError):
                server = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)
                return
        client.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    source.close()
