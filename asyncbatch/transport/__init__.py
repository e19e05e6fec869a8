"""The only place where bytes move: aiohttp sessions, calls, uploads, downloads, and errors made ours by table."""

from asyncbatch.transport.calls import Origin, Transport
from asyncbatch.transport.downloads import Answer
from asyncbatch.transport.sessions import Http, Profile, Sessions

__all__ = ["Answer", "Http", "Origin", "Profile", "Sessions", "Transport"]
