"""A real LiveKit client for the tests: joins a room, does what it was asked, and says what happened.

The first line of stdin is a JSON object:

    url        ws://127.0.0.1:PORT
    token      the access token to join with
    publish    kinds of made-up tracks to publish: "audio", "video", "screen"          (default: none)
    subscribe  kinds of tracks of others to wait for, until media really arrives: "audio", "video"
               (default: none; nothing is subscribed to)
    wait       bound in seconds for the joining and for each wait                       (default: 10)
    stay       whether to remain in the room until stdin closes or LiveKit ends the session (default: false)

It prints one line of JSON as soon as joining, publishing and subscribing have succeeded or failed; with `stay`, one
more line when it has left. It exits 0 even when LiveKit refuses: the refusal is in the report.

It sends to the address in `url` and to this machine's own addresses only. The ICE servers are the ones that LiveKit
names, and the tests' LiveKit names a closed port of the loopback address. The native library also asks the kernel,
by connecting a UDP socket on which it sends nothing, which local address leads to a public one; where IPv6 has a
default router that does not answer, the kernel may look for that router on the local link because of the question.
The library takes no part in a call over the loopback interface alone: the machine needs another one that is up.
"""

import asyncio
import json
import math
import os
import struct
import sys
import threading
import time

from livekit import rtc

# LiveKit does not answer a publication that the token forbids, so this bounds the silence.
PUBLISH_SECONDS = 5.0

SAMPLE_RATE = 48_000
SAMPLES_PER_FRAME = SAMPLE_RATE // 100
TONE_HZ = 440
WIDTH, HEIGHT, FRAMES_PER_SECOND = 320, 240, 10

SOURCES = {
    "audio": rtc.TrackSource.SOURCE_MICROPHONE,
    "video": rtc.TrackSource.SOURCE_CAMERA,
    "screen": rtc.TrackSource.SOURCE_SCREENSHARE,
}


def describe(error, seconds):
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer within {seconds:g} s"
    return str(error) or type(error).__name__


async def feed_audio(source):
    """A sine tone; the source's queue sets the pace."""
    position = 0
    while True:
        samples = [
            int(8_000 * math.sin(2 * math.pi * TONE_HZ * n / SAMPLE_RATE))
            for n in range(position, position + SAMPLES_PER_FRAME)
        ]
        position = (position + SAMPLES_PER_FRAME) % SAMPLE_RATE
        data = struct.pack(f"<{SAMPLES_PER_FRAME}h", *samples)
        await source.capture_frame(rtc.AudioFrame(data, SAMPLE_RATE, 1, SAMPLES_PER_FRAME))


async def feed_video(source):
    """A grey picture that changes from frame to frame."""
    shade = 0
    while True:
        pixels = bytes([shade, shade, shade, 255]) * (WIDTH * HEIGHT)
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, pixels))
        shade = (shade + 16) % 256
        await asyncio.sleep(1 / FRAMES_PER_SECOND)


async def first_media(track):
    """Returns once the track has brought media: a picture, or sound other than silence."""
    if track.kind == rtc.TrackKind.KIND_AUDIO:
        stream = rtc.AudioStream(track)
        async for event in stream:
            if any(event.frame.data):
                break
    else:
        stream = rtc.VideoStream(track)
        async for _ in stream:
            break
    await stream.aclose()


class Client:
    def __init__(self, request, leave):
        self.request = request
        self.wait = float(request.get("wait", 10))
        self.wanted = set(request.get("subscribe", []))
        self.leave = leave
        self.room = rtc.Room()
        self.tasks = set()
        self.received = asyncio.Event()
        self.ended = asyncio.Event()
        self.report = {
            "connected": False,
            "joined_at": None,
            "left_at": None,
            "error": None,
            "room_name": None,
            "room_sid": None,
            "room_metadata": None,
            "participant_sid": None,
            "identity": None,
            "name": None,
            "metadata": None,
            "attributes": {},
            "permissions": {},
            "published": [],
            "publish_error": None,
            "subscribed": [],
            "subscribe_error": None,
            "disconnect_reason": None,
        }

    def start(self, coroutine):
        # The loop keeps only weak references to tasks.
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_track(self, track, publication, participant):
        kind = "audio" if track.kind == rtc.TrackKind.KIND_AUDIO else "video"
        if kind in self.wanted:
            self.start(self.receive(kind, track, publication, participant))

    async def receive(self, kind, track, publication, participant):
        await first_media(track)
        self.report["subscribed"].append(
            {"kind": kind, "sid": publication.sid, "name": publication.name, "identity": participant.identity}
        )
        if self.wanted <= {each["kind"] for each in self.report["subscribed"]}:
            self.received.set()

    def on_disconnected(self, reason):
        self.report["disconnect_reason"] = rtc.DisconnectReason.Name(reason)
        self.report["left_at"] = time.time()
        self.ended.set()

    async def join(self):
        self.room.on("track_subscribed", self.on_track)
        self.room.on("disconnected", self.on_disconnected)
        options = rtc.RoomOptions(auto_subscribe=bool(self.wanted), connect_timeout=self.wait)
        try:
            await asyncio.wait_for(
                self.room.connect(self.request["url"], self.request["token"], options), self.wait
            )
            connected_at = time.time()
            self.report["room_sid"] = await asyncio.wait_for(self.room.sid, self.wait)
        except Exception as error:
            self.report["error"] = describe(error, self.wait)
            return
        me = self.room.local_participant
        self.report.update(
            connected=True,
            joined_at=connected_at,
            room_name=self.room.name,
            room_metadata=self.room.metadata,
            participant_sid=me.sid,
            identity=me.identity,
            name=me.name,
            metadata=me.metadata,
            attributes=dict(me.attributes),
            permissions={
                "can_publish": me.permissions.can_publish,
                "can_subscribe": me.permissions.can_subscribe,
                "can_publish_data": me.permissions.can_publish_data,
                "can_update_metadata": me.permissions.can_update_metadata,
                "can_publish_sources": [rtc.TrackSource.Name(s) for s in me.permissions.can_publish_sources],
                "hidden": me.permissions.hidden,
            },
        )

    async def publish(self, kind):
        if kind == "audio":
            source = rtc.AudioSource(SAMPLE_RATE, 1)
            track = rtc.LocalAudioTrack.create_audio_track(kind, source)
            feed = feed_audio
        else:
            source = rtc.VideoSource(WIDTH, HEIGHT, is_screencast=kind == "screen")
            track = rtc.LocalVideoTrack.create_video_track(kind, source)
            feed = feed_video
        publication = await asyncio.wait_for(
            self.room.local_participant.publish_track(track, rtc.TrackPublishOptions(source=SOURCES[kind])),
            PUBLISH_SECONDS,
        )
        self.report["published"].append({"kind": kind, "sid": publication.sid})
        self.start(feed(source))

    async def run(self):
        await self.join()
        if not self.report["connected"]:
            self.tell()
            return
        refused = []
        for kind in self.request.get("publish", []):
            try:
                await self.publish(kind)
            except Exception as error:
                refused.append(f"{kind}: {describe(error, PUBLISH_SECONDS)}")
        self.report["publish_error"] = "; ".join(refused) or None
        if self.wanted:
            try:
                await asyncio.wait_for(self.received.wait(), self.wait)
            except asyncio.TimeoutError:
                missing = self.wanted - {each["kind"] for each in self.report["subscribed"]}
                self.report["subscribe_error"] = f"no media within {self.wait:g} s: {', '.join(sorted(missing))}"
        stay = self.request.get("stay", False)
        if stay:
            self.tell()
            waits = [asyncio.ensure_future(each.wait()) for each in (self.leave, self.ended)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in list(self.tasks):
            task.cancel()
        ours = not self.ended.is_set()
        await asyncio.wait_for(self.room.disconnect(), self.wait)
        if self.report["left_at"] is None:
            self.report["left_at"] = time.time()
        if ours and self.report["disconnect_reason"] is None:
            # The library does not always emit "disconnected" for its own leaving.
            self.report["disconnect_reason"] = "CLIENT_INITIATED"
        self.tell()

    def tell(self):
        print(json.dumps(self.report), flush=True)


async def main(request):
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch_stdin():
        while sys.stdin.readline():
            pass
        try:
            loop.call_soon_threadsafe(leave.set)
        except RuntimeError:
            pass  # the loop has closed: the client has left already

    threading.Thread(target=watch_stdin, daemon=True).start()
    await Client(request, leave).run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
    # The native library still calls back while the interpreter is taken down, and then aborts: leave without that.
    os._exit(0)
