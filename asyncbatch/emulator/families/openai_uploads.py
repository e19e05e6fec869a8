"""What `POST /files` takes: a multipart body with a file, its purpose, and perhaps how long it is wanted.

Source: https://platform.openai.com/docs/api-reference/files/create
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.uploads import Multipart, kept, read_multipart

_EXPIRY = {
    "brackets": ("expires_after[anchor]", "expires_after[seconds]"),
    "dots": ("expires_after.anchor", "expires_after.seconds"),
}


class Upload(Struct, frozen=True, kw_only=True):
    """A file that has arrived."""

    purpose: str
    filename: str
    size: int
    sha256: str
    lifetime_s: int | None


async def read_upload(
    request: web.Request, path: Path, most_bytes: int | None, protocol: Mapping[str, Any], manners: Manners
) -> Upload:
    """Bring the file to `path`, and check what was said about it. What is refused or cut leaves nothing behind."""
    async with kept(path):
        return _checked(await read_multipart(request, path, most_bytes), protocol, manners)


def _checked(body: Multipart, protocol: Mapping[str, Any], manners: Manners) -> Upload:
    missing = next((name for name in manners.upload_fields if not body.fields.get(name)), None)
    if missing is not None:
        raise RefusalError(400, f"'{missing}' is a required property", param=missing, code="missing_required_parameter")
    known = ("purpose", *manners.upload_fields)
    foreign = [name for spelling, names in _EXPIRY.items() if spelling != manners.expiry for name in names]
    refused = foreign if manners.takes_expiry else [name for name in body.fields if name not in known]
    if unknown := next((name for name in body.fields if name in refused), None):
        raise RefusalError(400, f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
    return Upload(
        purpose=_read_purpose(body.fields, body.filename, protocol["purposes"]),
        filename=body.filename,
        size=body.size,
        sha256=body.sha256,
        lifetime_s=_read_lifetime(body.fields, protocol.get("expiry_s", (0, 0)), _EXPIRY[manners.expiry]),
    )


def _read_purpose(fields: Mapping[str, str], filename: str, purposes: Sequence[str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise RefusalError(400, "'purpose' is a required property", param="purpose", code="missing_required_parameter")
    if purpose not in purposes:
        raise RefusalError(400, f"'{purpose}' is not one of {list(purposes)}", param="purpose", code="invalid_value")
    if purpose.startswith("batch") and not filename.endswith(".jsonl"):
        raise RefusalError(400, f"Invalid file name '{filename}': a batch needs a .jsonl file.", param="file")
    return purpose


def _read_lifetime(fields: Mapping[str, str], bounds: Sequence[int], names: tuple[str, str]) -> int | None:
    anchor, seconds = (fields.get(name) for name in names)
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = "Invalid 'expires_after': the anchor must be 'created_at'."
        raise RefusalError(400, message, param=names[0], code="invalid_value")
    if seconds is None or not seconds.isdigit() or not bounds[0] <= int(seconds) <= bounds[1]:
        message = f"Invalid 'expires_after': expected {bounds[0]} to {bounds[1]} seconds."
        raise RefusalError(400, message, param=names[1], code="invalid_value")
    return int(seconds)
