"""A real node, spoken to by the Python client and by hand. Every frame that arrives is checked
against the schema.

    CHAPPE_URL=ws://127.0.0.1:8080 /usr/bin/python3 -m unittest discover tests/python

The node must allow anonymous joins (`chappe dev` does). With CHAPPE_CA, wss is checked against
that certificate.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import secrets
import ssl
import sys
import unittest

import jsonschema
import websockets

HERE = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(HERE / "proto/py"))

import chappe  # noqa: E402

URL = os.environ.get("CHAPPE_URL")
SCHEMA = json.loads((HERE / "proto/schema/signal.v1.json").read_text())
SERVER = jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": "#/$defs/server"}]})
CLIENT = jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": "#/$defs/client"}]})
SECURE = (URL or "").startswith(("wss", "https"))
TLS = ssl.create_default_context(cafile=os.environ.get("CHAPPE_CA")) if SECURE else None
STRANGER = "p_" + "0" * 24


class ByHand:
    """A socket that says exactly what it is told."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, **frame):
        CLIENT.validate(frame)
        await self.socket.send(json.dumps(frame))

    async def hear(self, type=None):
        """The next frame, or the next of a type."""
        while True:
            frame = json.loads(await asyncio.wait_for(self.socket.recv(), 5))
            SERVER.validate(frame)
            if type is None or frame["type"] == type:
                return frame

    async def join(self, room, **fields):
        await self.say(type="join", room=room, **fields)
        return await self.hear()


@contextlib.asynccontextmanager
async def by_hand():
    async with websockets.connect(chappe.signal_url(URL), ssl=TLS, ping_interval=None) as socket:
        yield ByHand(socket)


@unittest.skipUnless(URL, "CHAPPE_URL names no node")
class Protocol(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.room = "test-" + secrets.token_hex(6)

    def enter(self, room=None, **options):
        return chappe.connect(URL, room or self.room, ssl=TLS, on_frame=SERVER.validate, **options)

    async def within(self, awaitable, seconds=10):
        return await asyncio.wait_for(awaitable, seconds)

    # ------------------------------------------------------------------ presence

    async def test_join_and_roster(self):
        async with self.enter(name="Ada", metadata={"muted": True}) as ada:
            async with self.enter(name="Ben") as ben:
                joined = await self.within(ada.until("peer_joined"))
                self.assertEqual((joined["peer"], joined["name"]), (ben.peer, "Ben"))
                self.assertEqual(ben.peers[ada.peer]["name"], "Ada")
                self.assertEqual(ben.peers[ada.peer]["metadata"], {"muted": True})
            left = await self.within(ada.until("peer_left"))
            self.assertEqual((left["peer"], left["reason"]), (ben.peer, "left"))

    async def test_rooms_are_apart(self):
        async with self.enter() as ada, self.enter(room=self.room + "-other") as ben:
            self.assertEqual((ada.peers, ben.peers), ({}, {}))
            with self.assertRaises(chappe.Undelivered) as refused:
                await self.within(ada.send(ben.peer, "hello"))
            self.assertEqual(refused.exception.reason, "unknown")

    async def test_update_is_seen_by_all(self):
        async with self.enter(name="Ada") as ada, self.enter() as ben:
            await ada.update(name="Ada L.", metadata=[1, None, "x"])
            for room in (ada, ben):
                update = await self.within(room.until("peer_updated", change="metadata"))
                self.assertEqual((update["peer"], update["name"], update["metadata"]),
                                 (ada.peer, "Ada L.", [1, None, "x"]))

    async def test_the_newest_of_an_identity_stays(self):
        async with self.enter() as ada, self.enter(identity="ben") as old:
            async with self.enter(identity="ben") as new:
                closed = await self.within(old.until("closed"))
                self.assertEqual(closed["code"], "replaced")
                await self.within(ada.until("peer_left", peer=old.peer, reason="replaced"))
                await self.within(ada.until("peer_joined", peer=new.peer))

    # ------------------------------------------------------------------ signals

    async def test_signals_once_in_order_through_resets(self):
        """Both sides lose their sockets again and again while 300 signals go each way."""
        count = 300

        async def hear(room):
            got = []
            async for event in room:
                if event["type"] == "signal":
                    got.append(event["payload"])
                    if len(got) == count:
                        return got

        async def cut(rooms):
            while True:
                for room in rooms:
                    await asyncio.sleep(0.15)
                    room.drop()

        async with self.enter() as ada, self.enter() as ben:
            peers = ada.peer, ben.peer
            hearing = asyncio.gather(hear(ada), hear(ben))
            cutting = asyncio.create_task(cut((ada, ben)))
            sends = [room.send(to, "count", n) for n in range(count)
                     for room, to in ((ada, ben.peer), (ben, ada.peer))]
            # In slices, so that there is something in flight at each cut.
            for start in range(0, len(sends), 40):
                await self.within(asyncio.gather(*sends[start:start + 40]), 30)
            cutting.cancel()
            got = await self.within(hearing, 30)
            self.assertEqual(got, [list(range(count))] * 2)
            self.assertEqual((ada.peer, ben.peer), peers)

    async def test_a_signal_keeps_its_form(self):
        async with self.enter() as ada, self.enter() as ben:
            connection = {"mine": "9f0c77", "yours": "aa"}
            payload = {"sdp": "v=0\r\n\u2028", "deep": [[[{}]]], "n": -1.5e3, "null": None}
            await self.within(ada.send(ben.peer, "offer", payload, connection))
            signal = await self.within(ben.until("signal"))
            self.assertEqual((signal["from"], signal["id"]), (ada.peer, 1))
            self.assertEqual((signal["kind"], signal["payload"], signal["connection"]),
                             ("offer", payload, connection))

    async def test_undelivered(self):
        async with self.enter() as ada:
            with self.assertRaises(chappe.Undelivered) as refused:
                await self.within(ada.send(STRANGER, "hello"))
            self.assertEqual(refused.exception.reason, "unknown")
            async with self.enter() as ben:
                gone = ben.peer
            await self.within(ada.until("peer_left"))
            with self.assertRaises(chappe.Undelivered) as refused:
                await self.within(ada.send(gone, "hello"))
            self.assertEqual(refused.exception.reason, "gone")

    async def test_duplicates_and_gaps(self):
        async with self.enter() as ada, by_hand() as ben:
            welcome = await ben.join(self.room)
            self.assertEqual(welcome["type"], "welcome")
            for id in (1, 1, 2, 1):
                await ben.say(type="signal", to=ada.peer, id=id, kind="n", payload=id)
            for id in (1, 2):
                self.assertEqual((await self.within(ada.until("signal")))["payload"], id)
            while (await ben.hear("delivered"))["id"] < 2:
                pass
            await ben.say(type="signal", to=ada.peer, id=4, kind="n", payload=4)
            error = await ben.hear("error")
            self.assertEqual((error["code"], error["to"], error["id"]), ("bad_id", ada.peer, 4))
            await ben.say(type="signal", to=ada.peer, id=3, kind="n", payload=3)
            self.assertEqual((await self.within(ada.until("signal")))["payload"], 3)

    async def test_busy_takes_nothing_and_one_ack_covers_all(self):
        async with by_hand() as ada, by_hand() as ben:
            to = (await ada.join(self.room))["peer"]
            welcome = await ben.join(self.room)
            most = welcome["limits"]["unacked_max"]
            for id in range(1, most + 2):
                await ben.say(type="signal", to=to, id=id, kind="n", payload=id)
            error = await ben.hear("error")
            self.assertEqual((error["code"], error["to"], error["id"]), ("busy", to, most + 1))
            self.assertGreater(error["retry_after_ms"], 0)
            ids = []
            while most not in ids:  # what is not acknowledged may be repeated
                ids.append((await ada.hear("signal"))["id"])
            self.assertEqual(sorted(set(ids)), list(range(1, most + 1)))
            self.assertEqual(sorted(set(ids), key=ids.index), sorted(set(ids)))
            await ada.say(type="ack", **{"from": welcome["peer"], "id": most})
            while (await ben.hear("delivered"))["id"] < most:
                pass
            await ben.say(type="signal", to=to, id=most + 1, kind="n", payload=None)
            while (id := (await ada.hear("signal"))["id"]) <= most:
                pass
            self.assertEqual(id, most + 1)

    async def test_broadcasts_are_numbered_and_not_heard_by_oneself(self):
        async with self.enter() as ada, self.enter() as ben, self.enter() as cleo:
            for n in range(3):
                await ada.broadcast(n)
            # Between two senders there is no order, unless one has heard the other.
            while (await self.within(ben.until("broadcast")))["payload"] != 2:
                pass
            await ben.broadcast("end")
            for room, own in ((ada, []), (cleo, [0, 1, 2])):
                got = []
                while not got or got[-1]["payload"] != "end":
                    got.append(await self.within(room.until("broadcast")))
                self.assertEqual([b["payload"] for b in got], own + ["end"])
                numbers = [b["n"] for b in got]
                self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(got))))

    # ------------------------------------------------------------------ resuming

    async def test_away_and_back(self):
        async with self.enter() as ada, self.enter() as ben:
            before = ben.peer
            ben.drop()
            await self.within(ada.until("peer_updated", peer=before, change="away"))
            await self.within(ben.until("resumed"))
            await self.within(ada.until("peer_updated", peer=before, change="back"))
            self.assertEqual(ben.peer, before)
            await self.within(ada.send(before, "still you?"))

    async def test_the_last_two_tokens_are_good(self):
        async with by_hand() as first:
            welcome = await first.join(self.room)
        for _ in range(2):  # as if the second welcome had been lost
            async with by_hand() as again:
                resumed = await again.join(self.room, resume=welcome["resume"], marks={})
                self.assertEqual((resumed["type"], resumed["peer"]), ("resumed", welcome["peer"]))

    async def test_a_second_socket_takes_over(self):
        async with by_hand() as first, by_hand() as second:
            welcome = await first.join(self.room)
            resumed = await second.join(self.room, resume=welcome["resume"], marks={})
            self.assertEqual(resumed["type"], "resumed")
            closed = await first.hear("closed")
            self.assertEqual((closed["code"], closed["resume"]), ("replaced", False))

    async def test_what_was_missed_comes_after_the_resume(self):
        async with self.enter() as ada:
            async with by_hand() as ben:
                welcome = await ben.join(self.room)
                await self.within(ada.until("peer_joined"))
                first = asyncio.create_task(ada.send(welcome["peer"], "n", 1))
                self.assertEqual((await ben.hear("signal"))["id"], 1)
                await ben.say(type="ack", **{"from": ada.peer, "id": 1})
                await self.within(first)
            await self.within(ada.until("peer_updated", change="away"))
            rest = [asyncio.create_task(ada.send(welcome["peer"], "n", n)) for n in (2, 3)]
            async with by_hand() as ben:
                await ben.join(self.room, resume=welcome["resume"], marks={ada.peer: 1})
                for id in (2, 3):
                    self.assertEqual((await ben.hear("signal"))["id"], id)
                await ben.say(type="ack", **{"from": ada.peer, "id": 3})
                await self.within(asyncio.gather(*rest))

    async def test_a_bad_resume_is_gone_and_the_socket_stays(self):
        async with by_hand() as socket:
            gone = await socket.join(self.room, resume="not-a-token", marks={})
            self.assertEqual((gone["type"], gone["reason"]), ("gone", "unknown"))
            self.assertEqual((await socket.join(self.room))["type"], "welcome")

    # ------------------------------------------------------------------ refusals

    async def test_errors_name_what_is_wrong_and_end_nothing(self):
        async with by_hand() as socket:
            await socket.say(type="leave")
            self.assertEqual((await socket.hear())["code"], "not_joined")
            welcome = await socket.join(self.room)
            cases = [
                ("malformed", "{"),
                ("malformed", "[]"),
                ("malformed", '{"type":"ack"}'),
                ("unknown_type", '{"type":"dance"}'),
                ("already_joined", json.dumps({"type": "join", "room": self.room})),
                ("too_large", json.dumps({"type": "broadcast", "payload": "x" * welcome["limits"]["payload_max"]})),
                ("too_large", json.dumps({"type": "update", "metadata": "x" * welcome["limits"]["metadata_max"]})),
                ("bad_peer", json.dumps({"type": "signal", "to": welcome["peer"], "id": 1, "kind": "n", "payload": 1})),
                ("forbidden", json.dumps({"type": "kick", "peer": STRANGER})),
            ]
            for code, text in cases:
                with self.subTest(code=code, text=text[:60]):
                    await socket.socket.send(text)
                    self.assertEqual((await socket.hear("error"))["code"], code)
            await socket.say(type="ping", t=17.5)
            self.assertEqual((await socket.hear("pong"))["t"], 17.5)

    async def test_a_wrong_token_is_refused_in_words(self):
        with self.assertRaises(chappe.Closed) as refused:
            async with self.enter(token="not.a.token"):
                pass
        self.assertEqual(refused.exception.code, "token_invalid")

    async def test_leaving_says_so(self):
        async with by_hand() as socket:
            await socket.join(self.room)
            await socket.say(type="leave")
            closed = await socket.hear("closed")
            self.assertEqual((closed["code"], closed["resume"]), ("left", False))
            await asyncio.wait_for(socket.socket.wait_closed(), 5)
            self.assertEqual(socket.socket.close_code, 1000)

    async def test_ice_on_request(self):
        async with by_hand() as socket:
            await socket.join(self.room)
            await socket.say(type="ice")
            self.assertEqual((await socket.hear("ice_servers"))["reason"], "requested")


if __name__ == "__main__":
    unittest.main()
