#!/usr/bin/env python3
"""HTTP/3 by aioquic: http3.py serve CERTIFICATE KEY, or http3.py load CERTIFICATE HOST FILE

The server listens at UDP port 443 of all addresses, and sends every body back that comes. The client
sends the file in so many requests at once over one QUIC connection, and prints for each answer its
status, and the length and the SHA-256 of its body.
"""
import asyncio, hashlib, pathlib, sys

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

PORT = 443
REQUESTS = 4


class Http3(QuicConnectionProtocol):
    """Hands on the messages that end: their stream, head and body."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.http, self.heads, self.bodies = None, {}, {}

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for http in self.http.handle_event(event) if self.http else []:
            if isinstance(http, HeadersReceived):
                self.heads[http.stream_id] = dict(http.headers)
            elif isinstance(http, DataReceived):
                self.bodies.setdefault(http.stream_id, bytearray()).extend(http.data)
            if getattr(http, "stream_ended", False):
                stream = http.stream_id
                self.complete(stream, self.heads.pop(stream), bytes(self.bodies.pop(stream, b"")))

    def send(self, stream, head, body):
        self.http.send_headers(stream, head)
        self.http.send_data(stream, body, end_stream=True)
        self.transmit()


class Server(Http3):
    def complete(self, stream, head, body):
        self.send(stream, [(b":status", b"200")], body)


class Client(Http3):
    answers = asyncio.Queue()

    def complete(self, stream, head, body):
        self.answers.put_nowait((head[b":status"].decode(), len(body), hashlib.sha256(body).hexdigest()))

    def request(self, host, body):
        head = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", host.encode()), (b":path", b"/")]
        self.send(self._quic.get_next_available_stream_id(), head, body)


async def run_server(certificate, key):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(certificate, key)
    await serve("::", PORT, configuration=configuration, create_protocol=Server)
    print("serving", flush=True)
    await asyncio.Future()


async def run_client(certificate, host, file):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, cafile=certificate)
    body = pathlib.Path(file).read_bytes()
    async with connect(host, PORT, configuration=configuration, create_protocol=Client) as client:
        for _ in range(REQUESTS):
            client.request(host, body)
        for _ in range(REQUESTS):
            print(*await asyncio.wait_for(client.answers.get(), 30))


role, *arguments = sys.argv[1:]
asyncio.run({"serve": run_server, "load": run_client}[role](*arguments))
