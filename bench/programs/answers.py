# The application of the balance bench: answers with its pid. /burn costs some ms of CPU first, /wait takes 5 ms.
# A boot of BENCH_BOOT_MS stands for a heavy application.
import asyncio
import hashlib
import os
import time

time.sleep(float(os.environ.get("BENCH_BOOT_MS", "0")) / 1000)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/wait":
        await asyncio.sleep(0.005)
    if scope["path"] == "/burn":
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 4000)
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
