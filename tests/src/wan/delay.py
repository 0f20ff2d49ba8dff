"""The long way between regions: one TUN device in the router's namespace, to which it routes what comes from
hosts. Each IPv4 packet is written back after the delay between the regions of its source and destination, which
are the second bytes of their addresses.

    python3 delay.py DEVICE '{"1": {"1": MILLISECONDS, "2": ...}, ...}'
"""

import fcntl
import heapq
import json
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
PACKETS_MAX = 20_000  # on their way; what comes beyond is lost, as in a router

device, matrix = sys.argv[1], json.loads(sys.argv[2])
delays = {(int(a), int(b)): ms / 1000 for a, row in matrix.items() for b, ms in row.items()}
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
print("ready", flush=True)

on_the_way, count = [], 0
while True:
    left = on_the_way[0][0] - time.monotonic() if on_the_way else None
    select.select([tun], [], [], left and max(left, 0))
    now = time.monotonic()
    for _ in range(64):
        try:
            packet = os.read(tun, 65_536)
        except BlockingIOError:
            break
        delay = delays.get((packet[13], packet[17])) if packet[0] >> 4 == 4 else None
        if delay is not None and len(on_the_way) < PACKETS_MAX:
            heapq.heappush(on_the_way, (now + delay, count, packet))
            count += 1
    while on_the_way and on_the_way[0][0] <= now:
        try:
            os.write(tun, heapq.heappop(on_the_way)[2])
        except OSError:
            pass  # the device is full, or there is no way: lost
