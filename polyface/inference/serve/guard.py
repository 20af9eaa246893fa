"""What stands before every request: only pages of this server itself may ask it, and what it answers may load nothing from elsewhere.

A foreign page cannot name us by a domain of its own that it points to this machine (DNS rebinding), since the Host is then that domain; and it cannot post to us, since
browsers say where a request comes from (Origin).
"""

import re
from collections.abc import Mapping

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyface.errors import RequestError

OURS = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
"""The names of a loopback address; the port may be another, through a tunnel."""

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer, unless it has its own."""


class Foreign(RequestError):
    """A request from another page or under another name."""


class Guard:
    """The application, behind these rules."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            check(Headers(scope=scope))
        except Foreign as refusal:
            content = msgspec.json.encode({"error": str(refusal)})
            await Response(content, 403, media_type="application/json")(scope, receive, send_guarded)
        else:
            await self.app(scope, receive, send_guarded)


def check(headers: Mapping[str, str]) -> None:
    """Raises Foreign for a request that names another host, or comes from a page of another origin."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not OURS.fullmatch(host):
        raise Foreign(f"this server answers on this machine only, by the names 127.0.0.1 and localhost, not {host[:100]!r}")
    if origin is not None and origin != f"http://{host}":
        raise Foreign(f"this server answers its own page only, not one of {origin[:100]!r}")
