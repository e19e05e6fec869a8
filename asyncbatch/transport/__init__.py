"""The only place where bytes move: aiohttp sessions, calls, uploads, downloads, and errors made ours by table."""

from asyncbatch.transport.bodies import BlobSlice, JsonArrayBody, Streamed
from asyncbatch.transport.calls import Transport
from asyncbatch.transport.downloads import Answer
from asyncbatch.transport.origin import Origin
from asyncbatch.transport.sessions import Http, Profile, Sessions

__all__ = ["Answer", "BlobSlice", "Http", "JsonArrayBody", "Origin", "Profile", "Sessions", "Streamed", "Transport"]
