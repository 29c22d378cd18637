"""The part of org.freedesktop.resolve1 that sets the servers of a link. Prints each link as it is after
every FlushCaches, and forgets all of them on SIGUSR1."""

import asyncio
import signal
import socket

from dbus_fast import BusType
from dbus_fast.aio import MessageBus
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_property, method

NAME = "org.freedesktop.resolve1"
ROOT = "/org/freedesktop/resolve1"


class Link(ServiceInterface):
    def __init__(self, number):
        super().__init__(NAME + ".Link")
        self.number = number
        self.forget()

    def forget(self):
        self.dns, self.domains, self.default, self.tls = [], [], False, ""

    def show(self):
        dns = ",".join(socket.inet_ntop(family, bytes(address)) for family, address in self.dns)
        domains = ",".join(("~" if route else "") + name for name, route in self.domains)
        default = "yes" if self.default else "no"
        print(f"link {self.number} dns {dns} domains {domains} default {default} tls {self.tls}", flush=True)

    @dbus_property(access=PropertyAccess.READ)
    def DNS(self) -> "a(iay)":
        return self.dns

    @dbus_property(access=PropertyAccess.READ)
    def Domains(self) -> "a(sb)":
        return self.domains


class Manager(ServiceInterface):
    def __init__(self, bus):
        super().__init__(NAME + ".Manager")
        self.bus, self.links = bus, {}

    def link(self, number):
        if number not in self.links:
            self.links[number] = Link(number)
            self.bus.export(f"{ROOT}/link/_{number}", self.links[number])
        return self.links[number]

    @method()
    def SetLinkDNS(self, number: "i", servers: "a(iay)"):
        self.link(number).dns = servers

    @method()
    def SetLinkDomains(self, number: "i", domains: "a(sb)"):
        self.link(number).domains = domains

    @method()
    def SetLinkDefaultRoute(self, number: "i", enable: "b"):
        self.link(number).default = enable

    @method()
    def SetLinkDNSOverTLS(self, number: "i", mode: "s"):
        self.link(number).tls = mode

    @method()
    def SetLinkDNSSEC(self, number: "i", mode: "s"):
        pass

    @method()
    def FlushCaches(self):
        for link in self.links.values():
            link.show()

    @method()
    def GetLink(self, number: "i") -> "o":
        self.link(number)
        return f"{ROOT}/link/_{number}"


async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    manager = Manager(bus)
    bus.export(ROOT, manager)
    await bus.request_name(NAME)

    def forget():
        for link in manager.links.values():
            link.forget()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, forget)
    print("on the bus", flush=True)
    await bus.wait_for_disconnect()


asyncio.run(main())
