"""Sends UDP datagrams to the echo port as fragments made by hand, and prints what came back."""

import logging
import socket
import sys

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import IP, UDP, IPv6, IPv6ExtHdrFragment, Raw, conf, fragment, fragment6, raw

DEVICE, SERVER4, SERVER6 = sys.argv[1:]
PAYLOAD = bytes(range(250)) * 8
SHORT = PAYLOAD[:1000]


class Versions:
    def __init__(self, family, server):
        self.family, self.server = family, server
        # A socket of the kernel receives the echo; its port is the source of what is sent.
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect((server, 7))
        self.address, self.port = self.socket.getsockname()[:2]
        self.device = conf.L3socket(iface=DEVICE) if family == socket.AF_INET else conf.L3socket6(iface=DEVICE)

    def fragments(self, identification):
        udp = UDP(sport=self.port, dport=7) / Raw(PAYLOAD)
        if self.family == socket.AF_INET:
            return fragment(IP(src=self.address, dst=self.server, id=identification) / udp, 800)
        head = IPv6(src=self.address, dst=self.server) / IPv6ExtHdrFragment(id=identification)
        return fragment6(head / udp, 900)

    def atomic(self):
        udp = UDP(sport=self.port, dport=7) / Raw(SHORT)
        return [IPv6(src=self.address, dst=self.server) / IPv6ExtHdrFragment(id=9) / udp]

    def echo(self, packets, patience, sent=PAYLOAD):
        for packet in packets:
            self.device.send(packet)
        self.socket.settimeout(patience)
        try:
            echo = self.socket.recv(65535)
        except TimeoutError:
            return "none"
        return str(len(echo)) if echo == sent else "damaged"


def overlapping(fragments):
    """The second fragment begins eight octets too early."""
    second = fragments[1].copy()
    if IP in second:
        second.frag -= 1
        del second.chksum
    else:
        second[IPv6ExtHdrFragment].offset -= 1
    return [fragments[0], second] + fragments[1:]


CASES = [
    ("reversed", lambda v: v.echo(v.fragments(1)[::-1], 10)),
    ("doubled", lambda v: v.echo([f for f in v.fragments(2)[:-1] for _ in (1, 2)] + v.fragments(2)[-1:], 10)),
    ("overlapping", lambda v: v.echo(overlapping(v.fragments(3)), 1)),
    ("atomic", lambda v: v.echo(v.atomic(), 10, SHORT) if v.family == socket.AF_INET6 else "-"),
]
BOTH = [Versions(socket.AF_INET, SERVER4), Versions(socket.AF_INET6, SERVER6)]
for name, case in CASES:
    print(name, *(case(version) for version in BOTH))
