"""The list of models that a provider shows an account, in the two shapes that providers have."""

from typing import NamedTuple

import msgspec


class ModelsPage(NamedTuple):
    """Names of models, and where the next page begins; None where this is the last."""

    names: tuple[str, ...]
    cursor: str | None


class _Item(msgspec.Struct, frozen=True):
    id: str


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Page(msgspec.Struct, frozen=True, rename={"next_page_token": "nextPageToken"}):
    data: list[_Item] | None = None
    models: list[_Named] | None = None
    has_more: bool | None = None
    last_id: str | None = None
    next_page_token: str | None = None


_PAGE = msgspec.json.Decoder(_Page)


def decode_models(body: bytes) -> ModelsPage:
    """Read a page. Raises `msgspec.DecodeError` where it is none."""
    page = _PAGE.decode(body)
    if page.data is None and page.models is None and page.next_page_token is None and body.strip() != b"{}":
        raise msgspec.ValidationError("it lists no models")
    names = [item.id for item in page.data or ()] + [item.name.removeprefix("models/") for item in page.models or ()]
    return ModelsPage(tuple(names), page.next_page_token or (page.last_id if page.has_more else None) or None)
