#!/usr/bin/env python3
"""A whole notifier: neither an update nor the end of the system begins while a backup is being made, which a file says.

It takes two packages: pip install nats-py msgpack
"""

import asyncio
import os

import msgpack
import nats
import nats.errors

SERVER = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
FILE = os.environ.get("BACKUP_FILE", "/run/backup.pid")


async def main():
    registration = {"states": ["AWAITING_MODAL_UPDATING", "CONTEXT_DESTROYING"]}

    async def register():
        while True:
            try:
                answer = await bus.request("sys.api.notifier.register.backup", msgpack.packb(registration))
                break
            except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
                await asyncio.sleep(0.2)  # the daemon is not ready yet
        if refusal := (answer.headers or {}).get("Nats-Service-Error"):
            raise RuntimeError(f"not registered: {refusal}")
        registration["session"] = msgpack.unpackb(answer.data)["session"]

    async def asked(question):
        if os.path.exists(FILE):
            answer = {"answer": "defer", "reason": "a backup is being made", "retry_us": 10_000_000}
        else:
            answer = {"answer": "accept"}
        await question.respond(msgpack.packb(answer))

    async def troubled(error):
        print(f"bus: {error}")

    bus = await nats.connect(SERVER, max_reconnect_attempts=-1, reconnected_cb=register, error_cb=troubled)
    await bus.subscribe("sys.notify.backup", cb=asked)
    await bus.flush()  # first be there to be asked, then register
    await register()
    await asyncio.Event().wait()


asyncio.run(main())
