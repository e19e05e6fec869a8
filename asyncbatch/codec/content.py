"""What a message of a chat holds: words, images, documents and sounds, read from OpenAI's parts.

Whatever a part says that is not read here is refused by name, or left out and counted.
"""

import dataclasses
import re
from typing import Any, TypeAlias, cast

import msgspec

from asyncbatch.codec.requests import RowFault, dump_model, shown
from asyncbatch.codec.unsupported import REFUSING, Unsupported, report_others, without_index

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_DATA_URL = re.compile(
    r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+)(?:;[A-Za-z0-9=.+-]+)*;base64,", re.ASCII | re.IGNORECASE
)
_PLACES = ("file_id", "file_url", "file_data")


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Words."""

    text: str
    cache: Any = None


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """An image, a document or a sound: bytes as base64 with their type, an address, or a file that lies at the provider.

    Attributes:
        kind: `image`, `document` or `audio`.
        media_type: Such as `image/png`; None for an address.
        data: Base64.
        url: An https address.
        file_id: A file at the provider.
        name: The document's name.
        detail: How closely an image is looked at.
        cache: The part's `cache_control`.
    """

    kind: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None
    cache: Any = None


Part: TypeAlias = Text | Media


def typed(value: Any, kind: Any, where: str) -> Any:
    """Give a value that must be of a kind, or refuse the row and say where it stands."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise RowFault("wrong_type", f"{where} is {shown(value)}: {error}") from None


def object_of(value: Any, where: str) -> dict[str, Any]:
    """Give the fields of an object, which may be a Struct, a dataclass or a pydantic model; null is as good as absent."""
    if isinstance(value, msgspec.Struct) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        value = msgspec.to_builtins(value)
    elif hasattr(value, "model_dump") and not isinstance(value, type):
        value = dump_model(value)
    if not isinstance(value, dict):
        raise RowFault("wrong_type", f"{where} is {shown(value)}, not an object")
    return {name: field for name, field in cast("dict[str, Any]", value).items() if field is not None}


def decode_content(content: Any, where: str, unsupported: Unsupported = REFUSING) -> tuple[Part, ...]:
    """Read the content of a message: a text, parts, or nothing."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),) if content else ()
    if not isinstance(content, list | tuple):
        raise RowFault("wrong_type", f"{where} is {shown(content)}, neither a text nor a list of parts")
    places = ((f"{where}[{number}]", given) for number, given in enumerate(cast("list[Any]", content)))
    parts = (_decode_part(object_of(given, place), place, unsupported) for place, given in places)
    return tuple(part for part in parts if part is not None)


def _decode_part(part: dict[str, Any], where: str, unsupported: Unsupported) -> Part | None:
    """Give a part; None for one of a type that nobody knows, where that is left out."""
    kind, cache = part.get("type"), part.get("cache_control")
    if kind not in ("text", "refusal", "image_url", "file", "input_audio"):
        message = f"{where}.type is {shown(kind)}; it is text, image_url, file or input_audio"
        if not isinstance(kind, str):
            raise RowFault("bad_part", message)
        unsupported.tell(f"{without_index(where)} of type {kind}", "bad_part", message)
        return None
    report_others(part, ("type", kind, "cache_control"), where, unsupported)
    value, where = part.get(kind), f"{where}.{kind}"
    match kind:
        case "image_url":
            return _decode_image(value, cache, where, unsupported)
        case "file":
            return _decode_file(object_of(value, where), cache, where, unsupported)
        case "input_audio":
            return _decode_audio(object_of(value, where), cache, where, unsupported)
        case _:
            return Text(text=typed(value, str, where), cache=cache)


def _decode_image(image: Any, cache: Any, where: str, unsupported: Unsupported) -> Media:
    given = {"url": image} if isinstance(image, str) else object_of(image, where)
    report_others(given, ("url", "detail"), where, unsupported)
    url = typed(given.get("url"), str, f"{where}.url")
    detail = typed(given.get("detail"), str | None, f"{where}.detail")
    return _placed(Media(kind="image", detail=detail, cache=cache), url, where)


def _decode_file(file: dict[str, Any], cache: Any, where: str, unsupported: Unsupported) -> Media:
    """Read a document: `file_data` is a data URL, `file_url` an address, `file_id` a file that lies at the provider."""
    report_others(file, (*_PLACES, "filename"), where, unsupported)
    name = typed(file.get("filename"), str | None, f"{where}.filename")
    places = [place for place in _PLACES if place in file]
    if len(places) != 1:
        has = " and ".join(places) or "neither file_data nor file_url nor file_id"
        raise RowFault("missing_field" if not places else "conflicting_fields", f"{where} has {has}")
    value = typed(file[places[0]], str, f"{where}.{places[0]}")
    document = Media(kind="document", name=name, cache=cache)
    if places == ["file_id"]:
        return msgspec.structs.replace(document, file_id=value)
    return _placed(document, value, f"{where}.{places[0]}")


def _decode_audio(audio: dict[str, Any], cache: Any, where: str, unsupported: Unsupported) -> Media:
    report_others(audio, ("data", "format"), where, unsupported)
    sound = typed(audio.get("format"), str, f"{where}.format")
    media_type = "audio/mpeg" if sound == "mp3" else f"audio/{sound}"
    data = _base64(typed(audio.get("data"), str, f"{where}.data"), f"{where}.data")
    return Media(kind="audio", media_type=media_type, data=data, cache=cache)


def _base64(data: str, where: str) -> str:
    """Give bytes that are readable: others cost the whole file where a service looks at it before it runs."""
    if not _BASE64.fullmatch(data) or len(data) % 4:
        raise RowFault("bad_data", f"{where} holds {shown(data)}, which is no base64")
    return data


def _placed(media: Media, url: str, where: str) -> Media:
    """Say where a medium is: a data URL is parted into its type and its base64, an address has neither."""
    found = _DATA_URL.match(url)
    if found is not None:
        data = _base64(url[found.end() :], where)
        return msgspec.structs.replace(media, media_type=found[1].lower(), data=data)
    if not url.startswith(("https://", "http://", "gs://")):
        raise RowFault("bad_url", f"{where} is {shown(url)}, neither an address nor data:TYPE;base64,…")
    return msgspec.structs.replace(media, url=url)
