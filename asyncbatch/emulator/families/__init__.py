"""Protocol families. A dialect's YAML names its family; nothing lists them.

A family is a module here whose class `Protocol` extends `asyncbatch.emulator.family.Family`, and it is written from the
provider's documents, never from the library's own provider. It says five things, and leaves the rest to the emulator:

1. `routes()`: its paths, each with its operation, as in `route("create", web.post("/batches", self._create))`. A handler
   raises `RefusalError` for what the service refuses, and works with `self.desk`: `desk.store` (files, batches, new ids),
   `desk.open(request, batch)`, `desk.cancel(request, batch)`, `desk.accept(request, "upload", …)`,
   `await desk.work.settle(batch)` before it shows a batch, `batch.stand(now)` for where it stands,
   `count_rows(batch, now)` for its counts. A service that checks the rows before it answers a create calls
   `await desk.check(batch)` first. Uploads go through `uploads`, requests that come in a create through `inline`.
2. `read_key`, `encode_error`, and where they differ `refuse_key`, `refuse_problem`, `headers`, `new_request_id`.
3. `row_kind(batch)`: a `rows.RowKind`, which reads and checks one row, makes a neutral `model.Ask` of it, and writes a
   neutral `model.Answer`, an error, or the mark of a row that was not run in the service's own shape.
4. `file_kinds` and `order_kind`: the types of its files and of its orders, so that both can be read again when the
   emulator has been started anew. An order is plain data. Whoever changes one outside `open`, `cancel` and `accept` calls
   `desk.keep(batch)`.
5. `looks.Looks`: how batches and lists look to a fault, where it is not as OpenAI's.

Asks that mean the same have to be equal whatever the dialect: text parts are joined by line breaks, system messages go to
`system`, a tool's result is a message of its own, and settings have OpenAI's names.
"""

from importlib import import_module

from asyncbatch.emulator.desk import Desk
from asyncbatch.emulator.family import Family


def open_family(name: str, desk: Desk) -> Family:
    """Make the family of this name, for this desk."""
    family: Family = import_module(f"asyncbatch.emulator.families.{name}").Protocol(desk)
    return family
