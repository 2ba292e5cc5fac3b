"""The yardstick: a client in this process that keeps its connection and does as little as it can."""
import base64
import json
import os
import select
import socket
import ssl
import struct
from urllib.parse import urlsplit

from .stdio import INITIALIZE, call, now, request


class Target:
    """Where to connect, with the certificates read once."""

    def __init__(self, url, ca_file, token):
        parts = urlsplit(url)
        self.address, self.path, self.token = (parts.hostname, parts.port), parts.path, token
        self.tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None

    def connect(self):
        stream = socket.create_connection(self.address)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(stream, server_hostname=self.address[0]) if self.tls else stream


class Client:
    """One connection."""

    def __init__(self, target):
        self.target, self.stream = target, target.connect()
        self.fixed = (f"POST {target.path} HTTP/1.1\r\nHost: {target.address[0]}:{target.address[1]}\r\n"
                      "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
                      f"Authorization: Bearer {target.token}\r\nMCP-Protocol-Version: 2025-06-18\r\n").encode()
        self.session = b""

    def send(self, body):
        self.stream.sendall(b"%b%bContent-Length: %d\r\n\r\n%b" % (self.fixed, self.session, len(body), body))

    def receive(self):
        data = self.stream.recv(1 << 16)
        while b"\r\n\r\n" not in data:
            data += self.stream.recv(1 << 16)
        head, body = data.split(b"\r\n\r\n", 1)
        head = head.lower()
        pieces = [body]
        if b"\r\ntransfer-encoding: chunked" in head:
            end = body[-5:]
            while end != b"0\r\n\r\n":
                pieces.append(self.stream.recv(1 << 20))
                end = (end + pieces[-1])[-5:]
        else:
            at = head.find(b"\r\ncontent-length:")
            left = int(head[at + 17:].split(b"\r\n", 1)[0]) - len(body) if at >= 0 else 0
            while left > 0:
                pieces.append(self.stream.recv(1 << 20))
                left -= len(pieces[-1])
        if not self.session and b"\r\nmcp-session-id:" in head:
            id = head.split(b"\r\nmcp-session-id:", 1)[1].split(b"\r\n", 1)[0].strip()
            self.session = b"Mcp-Session-Id: " + id + b"\r\n"
        return b"".join(pieces)

    def ask(self, body):
        self.send(body)
        return self.receive()

    def close(self):
        self.stream.close()


def opened(target):
    client = Client(target)
    client.ask(INITIALIZE)
    return client


def start_seconds(target):
    """Connect and initialize."""
    began = now()
    client = opened(target)
    took = now() - began
    client.close()
    return took


def flight_seconds(target, count, width, message):
    """`count` calls over `width` connections that are never idle."""
    clients = {}
    poll = select.epoll()
    first = opened(target)
    for _ in range(width):
        client = Client(target)
        client.session = first.session
        clients[client.stream.fileno()] = client
        poll.register(client.stream, select.EPOLLIN)
    sent = done = 0
    began = now()
    for client in clients.values():
        client.send(message(sent))
        sent += 1
    while done < count:
        for fd, _ in poll.poll():
            client = clients[fd]
            client.receive()
            done += 1
            if sent < count:
                client.send(message(sent))
                sent += 1
    took = now() - began
    for client in [first, *clients.values()]:
        client.close()
    return took


class Approver:
    """What the gateway does for an approval, done by hand: wait at its WebSocket, then send the call again."""

    def __init__(self, target):
        self.target, self.client = target, opened(target)

    def wait_for(self, id, tool, arguments):
        """Sends the call; returns what is to be done once it is approved."""
        error = json.loads(self.client.ask(call(id, tool, **arguments)))["error"]
        data = error["data"]
        socket_ = self.target.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        socket_.sendall((f"GET {data['ws_url']} HTTP/1.1\r\nHost: {self.target.address[0]}\r\nUpgrade: websocket\r\n"
                         f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                         f"Authorization: Bearer {self.target.token}\r\n\r\n").encode())
        inbox = b""
        while b"\r\n\r\n" not in inbox:
            inbox += socket_.recv(4096)
        inbox = inbox.split(b"\r\n\r\n", 1)[1]
        meta = {"dev.aerostack/approval_id": data["approval_id"]}
        again = request(id + 1, "tools/call", {"name": tool, "arguments": arguments, "_meta": meta})

        def finish():
            nonlocal inbox
            while b'"approved"' not in inbox:
                inbox += socket_.recv(4096)
            answer = self.client.ask(again)
            took = now()
            socket_.close()
            return took, answer

        return data["approval_id"], finish
