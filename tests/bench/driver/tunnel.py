"""Two network namespaces and a wire between them that is late, loses packets, goes dark, and changes the address.

The driver's own namespace has the server; `python3 -m driver.tunnel SOCKET ADDRESS COMMAND…` makes the other end in a
namespace of its own, sends it here, and becomes the command; without arguments it fails where this is not allowed. Made
with TUN devices: the relay holds both and is the wire.
"""
import fcntl
import os
import random
import selectors
import socket
import struct
import sys

from .link import Relay

TUNSETIFF, TUN, PLAIN = 0x400454CA, 0x0001, 0x1000
SET_ADDRESS, SET_MASK, GET_FLAGS, SET_FLAGS = 0x8916, 0x891C, 0x8913, 0x8914
UP = 0x1
MASK = "255.255.255.0"
PACKET = 2048


def _address(name, address):
    return struct.pack("16sHH4s8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(address))


def bring_up(control, name):
    flags = struct.unpack("16sH", fcntl.ioctl(control, GET_FLAGS, struct.pack("16sH14x", name.encode(), 0))[:18])[1]
    fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH14x", name.encode(), flags | UP))


def set_address(control, name, address):
    fcntl.ioctl(control, SET_ADDRESS, _address(name, address))
    fcntl.ioctl(control, SET_MASK, _address(name, MASK))


def device(control, name, address):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), TUN | PLAIN))
    set_address(control, name, address)
    bring_up(control, name)
    os.set_blocking(tun, False)
    return tun


def control_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


class Tunnel(Relay):
    """The wire number `at`; the server's address on it is `address`."""

    def __init__(self, at, round_trip_s=0.0, loss=0.0):
        super().__init__(round_trip_s)
        self.loss, self.random, self.dark = loss, random.Random(at), False
        self.address, self.theirs = f"10.77.{at}.1", f"10.77.{at}.2"
        self.moved = f"10.77.{at}.3"
        with control_socket() as control:
            self.near = device(control, f"wire{at}", self.address)
        self.far = self.control = None
        self.here, self.there = socket.socketpair()
        os.set_inheritable(self.there.fileno(), True)

    def command(self, command):
        """What starts this command at the far end."""
        return ["unshare", "--net", sys.executable, "-m", "driver.tunnel", str(self.there.fileno()), self.theirs, *command]

    def open(self):
        """Waits for the far end, which is in the making."""
        _, fds, _, _ = socket.recv_fds(self.here, 1, 2)
        self.far, self.control = fds[0], socket.socket(fileno=fds[1])
        for fd, other in ((self.near, self.far), (self.far, self.near)):
            self.poll.register(fd, selectors.EVENT_READ, lambda fd, other=other: self._carry(fd, other))
        self.thread.start()

    def go_dark(self):
        """Packets are lost, all of them, until `mend`."""
        self.dark = True

    def mend(self):
        self.dark = False

    def move(self):
        """The far end has another address from now on, as a laptop in another network."""
        set_address(self.control, "wire", self.moved)

    def stop(self):
        super().stop()
        self.control.close()
        os.close(self.near)
        os.close(self.far)
        self.here.close()
        self.there.close()

    def _carry(self, source, other):
        try:
            packet = os.read(source, PACKET)
        except BlockingIOError:
            return
        if not self.dark and self.random.random() >= self.loss:
            self.after(self.half_s, lambda: self._deliver(other, packet))

    @staticmethod
    def _deliver(other, packet):
        try:
            os.write(other, packet)
        except OSError:
            pass  # A full queue or an end that has gone: lost, as on a wire.


def main():
    if len(sys.argv) == 1:
        with control_socket() as control:
            return os.close(device(control, "wire", "10.77.0.1"))
    with socket.socket(fileno=int(sys.argv[1])) as parent, control_socket() as control:
        tun = device(control, "wire", sys.argv[2])
        bring_up(control, "lo")
        socket.send_fds(parent, [b"x"], [tun, control.fileno()])
        os.close(tun)
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
