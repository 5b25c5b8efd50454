"""Asks /healthz every few milliseconds until its input ends; prints the times, in ms, as JSON.

A process of its own: the load generator and the model server would delay it otherwise.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

_EVERY_S = 0.01
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_END = b'{"status":"ok"}'


def main(port: int) -> None:
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        print("asking", flush=True)
        while not select.select([sys.stdin], [], [], _EVERY_S)[0]:
            started = time.perf_counter()
            connection.sendall(_REQUEST)
            answer = b""
            while not answer.endswith(_END):
                got = connection.recv(4096)
                if not got:
                    raise RuntimeError("the service closed the connection of /healthz")
                answer += got
            times.append((time.perf_counter() - started) * 1000)
    print(json.dumps(times))


if __name__ == "__main__":
    main(int(sys.argv[1]))
