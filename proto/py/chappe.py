"""A client of Chappe's signaling protocol, version 1 (proto/PROTOCOL.md), for asyncio.

Signals arrive once and in order, through lost sockets and nodes that move, as section 6 of the
protocol asks. Needs `websockets` 10 or later (Debian: python3-websockets), otherwise nothing.

    import asyncio, chappe

    async def main():
        async with chappe.connect("ws://127.0.0.1:8080", "brave-otter", name="Ada") as room:
            async for event in room:
                if event["type"] == "peer_joined":
                    await room.send(event["peer"], "chat", {"text": "Welcome!"})
                elif event["type"] == "signal":
                    print(event["from"], event["kind"], event["payload"])

    asyncio.run(main())

Events are the server's frames as dictionaries, in order, each signal once. Besides these:
`{"type": "state", "state": "connected" | "reconnecting"}` and, before the broadcasts that follow
a hole in their numbers, `{"type": "gap", "missed": n}`. The iteration ends when the room is left.
"""

import asyncio
import inspect
import json
import logging
import random
from urllib.parse import urlsplit, urlunsplit

import websockets

log = logging.getLogger("chappe")

#: Waits before each attempt to come back, in seconds; from the third on up to 1 s is added.
BACKOFF = (0.0, 0.3, 1.2, 2.7, 4.8, 7.0)
#: Events that wait for the application; beyond it the socket is not read.
EVENTS_MAX = 1024
#: How long a node has to open a socket, in seconds; twice as long after each attempt in vain.
OPEN_WITHIN = 2.0
OPEN_WITHIN_MAX = 8.0
#: How long it has to answer a join, and a resume, which another node may answer as well.
ANSWER_JOIN = 10.0
ANSWER_RESUME = 5.0
#: One who waits to be let in hears a ping every 10 s at least: nothing for so long means a lost node.
WAITS_SILENT = 25.0
#: A node that is silent for so long is asked, and lost when it does not answer within the second.
ASK_AFTER = 4.0
ANSWER_PING = 2.0
#: Who is sent away goes somewhere in this part of the time, so that not all go at once.
SPREAD = 0.7
# Marks that go with a resume (PROTOCOL.md section 6), and those that are kept of senders who have left.
MARKS_MAX = 1500
LEFT_MAX = 256
#: A refused join is tried again after these.
RETRYABLE = {"busy", "rate_limited", "unavailable", "internal"}
#: After these close codes of the WebSocket there is nothing to resume (PROTOCOL.md 8).
FINAL = {4010: "replaced", 4011: "kicked", 4012: "banned", 4013: "room_closed", 4014: "lost", 4015: "moved",
         4020: "protocol", 4021: "rate", 4023: "refused"}
#: What answers a join that was taken.
WELCOMES = ("welcome", "resumed", "rebuilt")
_END = object()


class Closed(Exception):
    """The room is closed for this client; `code` says why (PROTOCOL.md 8)."""

    def __init__(self, code, message=""):
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class Undelivered(Exception):
    """A signal will never arrive: its receiver is `gone`, or was `unknown`; or it was refused."""

    def __init__(self, reason, message=""):
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason


class _Elsewhere(Exception):
    """This node does not take us now."""

    def __init__(self, reason, retry_after=0.0):
        super().__init__(reason)
        self.retry_after = retry_after


class _Outbox:
    """What one receiver has not acknowledged: `held[0]` has the id `base + 1`, and so on."""

    def __init__(self):
        self.base = self.sent = 0  # the last id settled, and the last one written
        self.held = []  # (frame, bytes, future)
        self.paused = self.pumping = False
        self.turn = asyncio.Lock()  # first come, first numbered
        self.room = asyncio.Event()

    def settle(self, upto, error=None):
        """Up to that id all are delivered, or will never be."""
        while self.held and self.base < upto:
            self.base += 1
            self._answer(self.held.pop(0), error)
        self.sent = max(self.sent, self.base)
        self.room.set()

    def refuse(self, id, error):
        """That one was not taken and never will be: those behind it move up."""
        if self.base < id <= self.base + len(self.held):
            self._answer(self.held.pop(id - self.base - 1), error)
            self.sent = min(self.sent, id - 1)
        self.room.set()

    @staticmethod
    def _answer(entry, error):
        if not entry[2].done():
            entry[2].set_exception(error) if error else entry[2].set_result(None)


def signal_url(url):
    """`url` as the WebSocket's: http becomes ws, and no path becomes `/v1/signal`."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path if parts.path not in ("", "/") else "/v1/signal"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def connect(url, room, **options):
    """A `Room` to be used with `async with`."""
    return Room(url, room, **options)


class Room:
    """One session in one room.

    `url` is a node's address or a list of them; `token` a JWT or a (coroutine) function that gives
    one, asked for at each fresh join; `ssl` an `ssl.SSLContext`; `on_frame` is called with each
    frame received, before anything else looks at it.
    """

    def __init__(self, url, room, *, token=None, name=None, metadata=None, identity=None, ssl=None,
                 on_frame=None):
        self._urls = [signal_url(u) for u in ([url] if isinstance(url, str) else url)]
        self._nodes, self._sent_to, self._failed = [], [], []
        self._url = None  # of the node that we are on
        self._token, self._ssl, self._on_frame = token, ssl, on_frame
        self._join = {"type": "join", "room": room, "name": name, "metadata": metadata, "identity": identity}
        self._events = asyncio.Queue(EVENTS_MAX)
        self._admitted = asyncio.get_event_loop().create_future()
        self._socket = self._task = self._ack_task = self._resume = None
        self._mover = self._moved = None  # a socket to another node: the task, and what it got
        self._leaving = False
        self._closed = None
        self._forget()
        self.limits = {}

    def _forget(self):
        self.peer = None  # one's own id
        self.peers = {}  # everybody else, by id, as in `peer_joined`
        self._outboxes, self._marks, self._acks, self._broadcasts = {}, {}, {}, 0
        self._told = {}  # the marks that went with the last resume
        self._left = {}  # senders who have left, the last one last

    async def __aenter__(self):
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._admitted)
        except BaseException:
            self._task.cancel()
            raise
        return self

    async def __aexit__(self, *_):
        await self.leave()

    def __aiter__(self):
        return self

    async def __anext__(self):
        event = await self._events.get()
        if event is _END:
            self._events.put_nowait(_END)
            raise StopAsyncIteration
        return event

    async def until(self, type, **fields):
        """The next event of this type with these fields; what comes before it is dropped."""
        async for event in self:
            if event["type"] == type and all(event.get(k) == v for k, v in fields.items()):
                return event
        raise self._closed or Closed("left")

    # ------------------------------------------------------------------ what one can say

    async def send(self, to, kind, payload=None, connection=None):
        """Sends a signal and returns when it has been delivered. Raises `Undelivered`, `Closed`."""
        frame = {"type": "signal", "to": to, "kind": kind, "payload": payload}
        if connection is not None:
            frame["connection"] = connection
        size = len(json.dumps([payload, connection]).encode())
        if size > self.limits["payload_max"]:
            raise Undelivered("too_large", f"{size} bytes, at most {self.limits['payload_max']} allowed")
        box = self._outboxes.setdefault(to, _Outbox())
        async with box.turn:
            while not self._fits(box, size):
                box.room.clear()
                await box.room.wait()
            if self._closed:
                raise self._closed
            if self._outboxes.get(to) is not box:
                raise Undelivered("gone", "the session was lost while this waited")
            future = asyncio.get_running_loop().create_future()
            box.held.append((frame, size, future))
        await self._pump(box)
        await future

    def _fits(self, box, size):
        if self._closed or not box.held:
            return True
        held = sum(size for _, size, _ in box.held)
        return (len(box.held) < self.limits["unacked_max"]
                and held + size <= self.limits["unacked_bytes_max"])

    async def _pump(self, box):
        """Writes what has not been written, in order."""
        if box.pumping or box.paused:
            return
        box.pumping = True
        try:
            while not box.paused and box.sent < box.base + len(box.held):
                box.sent += 1
                frame = box.held[box.sent - box.base - 1][0]
                await self._say(**frame, id=box.sent)
        finally:
            box.pumping = False

    async def broadcast(self, payload):
        """To all others, best effort."""
        await self._say(type="broadcast", payload=payload)

    async def update(self, **fields):
        """Changes `name` or `metadata`."""
        self._join.update(fields)
        await self._say(type="update", **fields)

    async def kick(self, peer, ban=False):
        """Removes a peer; needs the grant `admin`."""
        await self._say(type="kick", peer=peer, ban=ban)

    async def mute(self, peer, grants=("publish",), on=True):
        """Takes grants of a peer away, of `publish` and `broadcast`, or gives them back; needs the grant `admin`."""
        await self._say(type="mute" if on else "unmute", peer=peer, grants=list(grants))

    async def ice(self):
        """Asks for fresh `ice_servers`."""
        await self._say(type="ice")

    async def probes(self, edges):
        """Reports round-trip times in milliseconds, by edge."""
        await self._say(type="probes", edges=edges)

    async def ice_failed(self, edge, kind):
        """Reports that ICE did not work over an edge: `no_relay` or `stalled`."""
        await self._say(type="ice_failed", edge=edge, kind=kind)

    async def connections(self, peers):
        """Tells operators how all media connections are: by peer `{"state", "local"?, "remote"?}`. Anew after each welcome."""
        await self._say(type="connections", peers=peers)

    async def ping(self, t=None):
        """Asks for a `pong`."""
        await self._say(type="ping", **({} if t is None else {"t": t}))

    async def leave(self):
        """Leaves for good."""
        self._leaving = True
        await self._say(type="leave")
        if self._task:
            await asyncio.wait({self._task}, timeout=2)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._end(Closed("left"))

    def drop(self):
        """Resets the connection without a word, as a network does. For tests."""
        if self._socket:
            self._socket.transport.abort()

    async def _say(self, **frame):
        """Into the socket that there is. What must not get lost is held elsewhere."""
        if self._socket:
            try:
                await self._socket.send(json.dumps(frame))
            except websockets.ConnectionClosed:
                pass

    # ------------------------------------------------------------------ the connection

    async def _run(self):
        try:
            while True:
                url, socket, welcome = self._moved or await self._connect()
                self._moved = None
                try:
                    await self._serve(url, socket, welcome)
                finally:
                    self._url = self._socket = None
                    socket.transport.abort()
                if self._leaving:
                    raise Closed("left")
                if not self._moved:
                    self._failed = [u for u in self._failed if u != url] + [url]
                    await self._stop_moving()
                    await self._emit({"type": "state", "state": "reconnecting"})
        except Closed as closed:
            self._end(closed)
        except asyncio.CancelledError:
            self._end(Closed("left"))
            raise
        except Exception as error:  # a fault of ours or the application's: say it, hang nobody
            log.exception("the connection's task failed")
            self._end(Closed("failed", str(error)))
        finally:
            await self._stop_moving()

    async def _stop_moving(self):
        if self._mover:
            self._mover.cancel()
            await asyncio.gather(self._mover, return_exceptions=True)
            self._mover = None

    def _targets(self):
        """The nodes in the order to try them: what failed last is tried last."""
        targets = list(dict.fromkeys(self._sent_to + self._nodes + self._urls))
        if self._url and len(targets) > 1:  # a node that sends us away is not where to go
            targets = [url for url in targets if url != self._url]
        return sorted(targets, key=lambda url: self._failed.index(url) if url in self._failed else -1)

    async def _connect(self):
        """A socket on which a node has taken us, its address, and its welcome."""
        attempt, vain, retry_after = 0, 0, 0.0
        while True:
            wait = BACKOFF[min(attempt, len(BACKOFF) - 1)] + (random.random() if attempt > 1 else 0)
            await asyncio.sleep(max(wait, retry_after))
            attempt, retry_after = attempt + 1, 0.0
            for url in self._targets():
                try:
                    return (url, *await self._open(url, min(OPEN_WITHIN * 2 ** vain, OPEN_WITHIN_MAX)))
                except _Elsewhere as elsewhere:
                    log.info("%s: %s", url, elsewhere)
                    self._failed = [u for u in self._failed if u != url] + [url]
                    retry_after = elsewhere.retry_after
                    if retry_after:
                        break
            else:
                vain = min(vain + 1, 8)

    async def _open(self, url, within):
        """Opens a socket and joins over it. Raises `_Elsewhere`, `Closed`."""
        try:
            socket = await websockets.connect(url, ssl=self._ssl if url.startswith("wss") else None,
                                              open_timeout=within, ping_interval=None, max_size=None,
                                              close_timeout=1)
        except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            raise _Elsewhere(f"{type(error).__name__} {error}") from None
        try:
            return socket, await self._enter(socket)
        except BaseException as error:
            socket.transport.abort()
            if isinstance(error, (OSError, asyncio.TimeoutError, websockets.WebSocketException)):
                raise _Elsewhere(f"{type(error).__name__} {error}") from None
            raise

    async def _enter(self, socket):
        """Joins, and waits for the answer: a welcome."""
        unavailable = waits = None
        await self._send_join(socket)
        try:
            while True:
                within = waits or unavailable or (ANSWER_RESUME if self._resume else ANSWER_JOIN)
                frame = json.loads(await asyncio.wait_for(socket.recv(), within))
                if self._on_frame:
                    self._on_frame(frame)
                kind, retry_after = frame["type"], frame.get("retry_after_ms", 250) / 1000
                if kind in WELCOMES:
                    return frame
                if kind == "waiting":
                    waits = WAITS_SILENT  # somebody has to let us in: as long as the node is there
                if kind == "gone" and self._socket:
                    raise _Elsewhere("does not know us")  # and the session lives on where it is
                if kind == "gone":
                    self._gone(frame["reason"])
                    await self._send_join(socket)
                elif kind == "error" and frame["code"] == "unavailable":
                    unavailable = retry_after  # it may still come on this socket
                elif kind == "error":
                    if frame["code"] in RETRYABLE or self._socket:
                        raise _Elsewhere(frame["code"], retry_after)
                    raise Closed(frame["code"], frame["message"])
                elif kind == "closed":
                    raise self._why_closed(frame) or _Elsewhere(frame["code"], frame.get("retry_after_ms", 0) / 1000)
                elif kind == "ping":
                    await socket.send(json.dumps({"type": "pong", **({"t": frame["t"]} if "t" in frame else {})}))
        except websockets.ConnectionClosed as closed:
            code = FINAL.get(closed.code)
            if code and code != "lost" and not self._socket and not unavailable:
                raise Closed(code, closed.reason) from None
            raise

    def _why_closed(self, frame):
        """The end that a `closed` frame means, or None where one comes back."""
        back = frame["resume"] or frame["code"] in ("lost", "join_timeout") or self._socket
        return None if back else Closed(frame["code"], frame["message"])

    def _gone(self, reason):
        self._resume = None
        for box in self._outboxes.values():
            box.settle(float("inf"), Undelivered("gone", "the session was lost"))
        self._forget()
        if reason in ("revoked", "replaced", "closed", "moved"):
            raise Closed({"revoked": "kicked", "closed": "room_closed"}.get(reason, reason))

    async def _serve(self, url, socket, welcome):
        """One socket from its welcome to its end."""
        self._url, self._socket = url, socket
        await self._welcome(welcome, url)
        try:
            while True:
                frame = await self._receive(socket)
                if self._on_frame:
                    self._on_frame(frame)
                if frame["type"] == "closed":
                    # Another socket of ours has taken over, or is about to.
                    if frame["code"] == "replaced" and self._moved:
                        return
                    self._socket = None
                    if frame["code"] == "replaced" and self._mover:
                        await asyncio.wait({self._mover}, timeout=ANSWER_RESUME)
                        return
                    if closed := self._why_closed(frame):
                        raise closed
                    await self._emit(frame)
                else:
                    await self._frame(frame)
        except asyncio.TimeoutError:
            log.info("%s: silent", url)
        except websockets.ConnectionClosed as closed:
            code = FINAL.get(closed.code)
            if code and code != "lost" and not self._mover and not self._moved:
                raise Closed(code, closed.reason) from None

    async def _receive(self, socket):
        """The next frame. What came before a pause is no silence: only a question without an answer is."""
        try:
            text = await asyncio.wait_for(socket.recv(), ASK_AFTER)
        except asyncio.TimeoutError:
            await self.ping()
            text = await asyncio.wait_for(socket.recv(), ANSWER_PING)
        return json.loads(text)

    async def _move(self, frame):
        """Sent away: resumes elsewhere, while the present socket goes on until that has worked."""
        to = frame["to"] or []
        self._sent_to = [signal_url(url) for url in ([to] if isinstance(to, str) else to)]
        await asyncio.sleep(frame["within_ms"] / 1000 * SPREAD * random.random())
        old = self._socket
        self._moved = await self._connect()
        self._mover = None
        self._socket = self._moved[1]
        old.transport.abort()

    async def _send_join(self, socket):
        join = {k: v for k, v in self._join.items() if v is not None}
        if self._resume:
            # As many as may be told, first of those who are here.
            marks = sorted(self._marks.items(), key=lambda mark: mark[0] in self._left)
            self._told = dict(marks[:MARKS_MAX])
            join.update(resume=self._resume, marks=self._told)
        elif self._token is not None:
            token = self._token() if callable(self._token) else self._token
            join["token"] = await token if inspect.isawaitable(token) else token
        await socket.send(json.dumps(join))

    async def _welcome(self, frame, url):
        fresh = frame["type"] == "welcome"
        self._resume, self.limits, self.peer = frame["resume"], frame["limits"], frame["peer"]
        self._nodes, self._sent_to = [signal_url(node) for node in frame["nodes"]], []
        self._failed = [failed for failed in self._failed if failed != url]
        before, self.peers = self.peers, {peer["peer"]: peer for peer in frame["roster"]}
        for peer in self.peers:
            self._left.pop(peer, None)
        for peer in before.keys() - self.peers.keys():
            self._left_mark(peer)
        if not fresh and frame["broadcasts"] > self._broadcasts:
            await self._emit({"type": "gap", "missed": frame["broadcasts"] - self._broadcasts})
        self._broadcasts = frame["broadcasts"]
        if not self._admitted.done():
            self._admitted.set_result(None)
        await self._emit(frame)
        await self._emit({"type": "state", "state": "connected"})
        # What was taken over an older socket since the marks were told is acknowledged over this one.
        self._acks.update((s, id) for s, id in self._marks.items() if self._told.get(s) != id)
        self._acknowledge_soon()
        for box in list(self._outboxes.values()):
            box.sent, box.paused = box.base, False
            await self._pump(box)

    # ------------------------------------------------------------------ frames after the welcome

    async def _frame(self, frame):
        kind = frame["type"]
        if kind == "signal":
            return await self._signal(frame)
        if kind == "ping":
            return await self._say(type="pong", **({"t": frame["t"]} if "t" in frame else {}))
        if kind in ("delivered", "undelivered"):
            if frame["to"] in self._outboxes:
                error = Undelivered(frame["reason"]) if kind == "undelivered" else None
                self._outboxes[frame["to"]].settle(frame["id"], error)
        elif kind == "error":
            self._refused(frame)
        elif kind == "broadcast":
            if frame["n"] <= self._broadcasts:
                return
            if frame["n"] > self._broadcasts + 1:
                await self._emit({"type": "gap", "missed": frame["n"] - self._broadcasts - 1})
            self._broadcasts = frame["n"]
        elif kind == "peer_joined":
            self.peers[frame["peer"]] = {k: v for k, v in frame.items() if k != "type"}
            self._left.pop(frame["peer"], None)
        elif kind == "peer_left":
            self.peers.pop(frame["peer"], None)
            self._left_mark(frame["peer"])
        elif kind == "peer_updated" and frame["peer"] in self.peers:
            peer = self.peers[frame["peer"]]
            if frame["change"] == "withheld":
                peer["withheld"] = frame["withheld"]
            elif frame["change"] == "metadata":
                peer.update({k: frame.get(k) for k in ("name", "metadata")})
            else:
                peer["away"] = frame["change"] == "away"
        elif kind == "moving":
            await self._stop_moving()
            self._mover = asyncio.create_task(self._move(frame))
        await self._emit(frame)

    def _left_mark(self, peer):
        """A late repetition may still come, and even who was called gone may be back: the last marks are kept."""
        if peer in self._marks:
            self._left.pop(peer, None)
            self._left[peer] = None
            if len(self._left) > LEFT_MAX:
                first = next(iter(self._left))
                del self._left[first]
                self._marks.pop(first, None)

    async def _signal(self, frame):
        sender, id = frame["from"], frame["id"]
        # Nothing up to `settled` comes any more.
        mark = max(self._marks.get(sender, 0), frame.get("settled", 0))
        if id > mark + 1:
            return  # it comes again, in order
        if id == mark + 1:
            await self._emit(frame)
            mark = id
        self._marks[sender] = mark
        self._acks[sender] = mark
        self._acknowledge_soon()

    def _acknowledge_soon(self):
        if self._acks and (not self._ack_task or self._ack_task.done()):
            self._ack_task = asyncio.create_task(self._acknowledge())

    async def _acknowledge(self):
        await asyncio.sleep(0.01)  # one covers a burst
        while self._acks:
            sender, id = self._acks.popitem()
            await self._say(type="ack", **{"from": sender, "id": id})

    def _refused(self, frame):
        box, code = self._outboxes.get(frame.get("to")), frame["code"]
        if code not in ("busy", "rate_limited", "bad_id"):
            if box:
                box.refuse(frame["id"], Undelivered(code, frame["message"]))
                asyncio.ensure_future(self._pump(box))
            return
        for box in [box] if box else list(self._outboxes.values()):
            if not box.paused:  # what is behind a refused signal is refused too: one return covers all
                box.sent = max(box.base, frame["id"] - 1) if code == "busy" and "id" in frame else box.base
                box.paused = True
                asyncio.get_running_loop().call_later(
                    frame.get("retry_after_ms", 250) / 1000, self._unpause, box)

    def _unpause(self, box):
        box.paused = False
        asyncio.ensure_future(self._pump(box))

    async def _emit(self, event):
        await self._events.put(event)

    def _end(self, closed):
        if self._closed:
            return
        self._closed = closed
        for box in self._outboxes.values():
            box.settle(float("inf"), closed)
        if not self._admitted.done():
            self._admitted.set_exception(closed)
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait({"type": "closed", "code": closed.code, "message": str(closed), "resume": False})
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(_END)
