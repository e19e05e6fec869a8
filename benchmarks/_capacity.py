"""What the server can do when the client costs next to nothing: plain sockets, canned requests, answers thrown away."""

import socket
import threading
import time

from benchmarks._frame import Server, cores

_GETS, _SOCKETS = 2000, 16
_UPLOAD_BYTES = 200_000_000


def capacity() -> str:
    """Say it in one line."""
    server = Server(cores()[1])
    try:
        address = ("127.0.0.1", server.port)
        gets, get_cpu = _polls(address, server)
        up = _upload(address)
        down = _download(address)
    finally:
        server.end()
    return (
        f"{gets:,.0f} polls a second ({get_cpu:.0f} µs of its CPU each), {up:,.0f} MB/s in, {down:,.0f} MB/s out; "
        "a client that needs more than that per poll, or moves less, is the bottleneck"
    )


def _polls(address: tuple[str, int], server: Server) -> tuple[float, float]:
    head = b"GET /v1/batches/batch_9999999_%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n"
    before, started = server.cpu_s(), time.perf_counter()

    def ask(number: int) -> None:
        with socket.create_connection(address) as wire:
            for _ in range(_GETS):
                wire.sendall(head % number)
                wire.recv(65536)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(_SOCKETS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = _GETS * _SOCKETS
    return asked / (time.perf_counter() - started), (server.cpu_s() - before) / asked * 1e6


def _upload(address: tuple[str, int]) -> float:
    front = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    tail = b"\r\n--x--\r\n"
    length = len(front) + _UPLOAD_BYTES + len(tail)
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bench-drop\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n" % length
    )
    piece, started = bytes(1_000_000), time.perf_counter()
    with socket.create_connection(address) as wire:
        wire.sendall(head + front)
        for _ in range(_UPLOAD_BYTES // len(piece)):
            wire.sendall(piece)
        wire.sendall(tail)
        wire.recv(65536)
    return _UPLOAD_BYTES / 1e6 / (time.perf_counter() - started)


def _download(address: tuple[str, int]) -> float:
    with socket.create_connection(address) as wire:
        ask = b"GET /v1/files/file-50000-1500/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n"
        _drain(wire, ask)  # the first time, the file is made
        started = time.perf_counter()
        size = _drain(wire, ask)
    return size / 1e6 / (time.perf_counter() - started)


def _drain(wire: socket.socket, ask: bytes) -> int:
    wire.sendall(ask)
    buffer = memoryview(bytearray(1_000_000))
    got = wire.recv_into(buffer)
    head = bytes(buffer[:got])
    end = head.index(b"\r\n\r\n") + 4
    left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - (got - end)
    whole = left
    while left:
        left -= wire.recv_into(buffer)
    return whole


if __name__ == "__main__":
    print(capacity())
