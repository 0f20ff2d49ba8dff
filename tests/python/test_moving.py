"""The Python client among several nodes: two small ones of this test's own, which share one session."""

import asyncio
import contextlib
import json
import pathlib
import sys
import unittest

import websockets

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "proto/py"))

import chappe  # noqa: E402

LIMITS = {"payload_max": 1000, "unacked_max": 64, "unacked_bytes_max": 10_000, "grace_ms": 30_000}
BEN = "p_" + "b" * 24


class Node:
    """Knows one session, which all nodes share; `answer` replaces its answer to a join."""

    def __init__(self, session):
        self.session, self.answer, self.joins = session, None, []

    async def __aenter__(self):
        self.server = await websockets.serve(self.serve, "127.0.0.1", 0, ping_interval=None)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        self.session["nodes"].append(self.url)
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, socket):
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.frames(socket)

    async def frames(self, socket):
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "join":
                self.joins.append(frame)
                for answer in [self.answer] if self.answer else self.take_over(socket, frame):
                    await socket.send(json.dumps(answer))
            elif frame["type"] == "signal":
                self.session["got"].append((self, frame["id"]))
                await socket.send(json.dumps({"type": "delivered", "to": frame["to"], "id": frame["id"]}))
            elif frame["type"] == "leave":
                await socket.send(json.dumps({"type": "closed", "code": "left", "message": "", "resume": False}))

    def take_over(self, socket, join):
        old, self.session["socket"] = self.session.get("socket"), socket
        if old and old.open:
            asyncio.ensure_future(self.replace(old))
        yield {"type": "resumed" if "resume" in join else "welcome", "session": "s", "resume": "t", "peer": "p_a",
               "roster": [{"peer": BEN, "away": False}], "broadcasts": 0, "nodes": self.session["nodes"],
               "limits": LIMITS}

    @staticmethod
    async def replace(old):
        await old.send(json.dumps({"type": "closed", "code": "replaced", "message": "", "resume": False}))
        await old.close(4010)

    async def say(self, **frame):
        await self.session["socket"].send(json.dumps(frame))


class Moving(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.session = {"nodes": [], "got": []}
        self.a = await self.enterAsyncContext(Node(self.session))
        self.b = await self.enterAsyncContext(Node(self.session))

    async def until(self, holds):
        async def wait():
            while not holds():
                await asyncio.sleep(0.005)
        await asyncio.wait_for(wait(), 10)

    async def test_the_old_socket_goes_on_until_another_has_resumed(self):
        for to in ([self.b.url], []):
            self.session["got"].clear()
            self.b.joins.clear()
            async with chappe.connect(self.a.url, "r") as ada:
                await ada.until("welcome")
                self.b.answer = {"type": "error", "code": "busy", "message": "", "retry_after_ms": 50}
                await self.a.say(type="moving", to=to, within_ms=10)
                await self.until(lambda: self.b.joins)
                await asyncio.wait_for(ada.send(BEN, "n", 1), 5)
                self.b.answer = None
                event = await asyncio.wait_for(ada.until("resumed"), 10)
                self.assertEqual(event["peer"], "p_a")
                self.assertEqual(self.b.joins[-1]["resume"], "t")
                await asyncio.wait_for(ada.send(BEN, "n", 2), 5)
                self.assertEqual(self.session["got"], [(self.a, 1), (self.b, 2)])

    async def test_a_node_that_cannot_tell_closes_no_room(self):
        """PROTOCOL.md 5: nor does one that has no time."""
        for code in ("busy", "rate_limited", "unavailable", "internal"):
            with self.subTest(code=code):
                self.a.joins.clear()
                self.a.answer = {"type": "error", "code": code, "message": "", "retry_after_ms": 10}
                asked = asyncio.ensure_future(self.until(lambda: self.a.joins))
                asked.add_done_callback(lambda _: setattr(self.a, "answer", None))
                async with chappe.connect(self.a.url, "r") as ada:
                    await asyncio.wait_for(ada.until("welcome"), 5)
                self.assertGreaterEqual(len(self.a.joins + self.b.joins), 2)

    async def test_a_node_that_does_not_know_us_is_left_alone(self):
        async with chappe.connect(self.a.url, "r") as ada:
            self.b.answer = {"type": "gone", "reason": "unknown"}
            await self.a.say(type="moving", to=[self.b.url], within_ms=0)
            await self.until(lambda: len(self.b.joins) >= 2)
            await asyncio.wait_for(ada.send(BEN, "n", 1), 5)
            self.assertEqual(self.session["got"], [(self.a, 1)])

    async def test_a_lost_node_is_left_for_another_at_once(self):
        async with chappe.connect(self.a.url, "r") as ada:
            self.session["nodes"].sort(key=lambda url: url != self.a.url)
            self.a.server.close()
            ada.drop()
            began = asyncio.get_running_loop().time()
            await asyncio.wait_for(ada.until("resumed"), 5)
            self.assertLess(asyncio.get_running_loop().time() - began, 1)
            self.assertEqual(len(self.b.joins), 1)

    async def test_a_black_hole_is_left_for_another(self):
        hole = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
        self.session["nodes"].insert(0, f"ws://127.0.0.1:{hole.sockets[0].getsockname()[1]}")
        async with chappe.connect(self.a.url, "r") as ada:
            ada.drop()
            await asyncio.wait_for(ada.until("resumed"), 4)
        hole.close()


if __name__ == "__main__":
    unittest.main()
