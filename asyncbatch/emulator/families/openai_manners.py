"""What the services that imitate OpenAI do otherwise, one fact each; what a dialect leaves out is as OpenAI has it.

Source: the fact sheet of each service, which its dialect names.
"""

from typing import Literal

from msgspec import Struct


class Manners(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a service deviates.

    Attributes:
        ids: What the ids of files and batches begin with.
        result_ids: What the ids of results begin with, where that is something else.
        error_purpose: The purpose of a file of errors.
        create_status: The status of an accepted create.
        upload_path: Where files are sent.
        upload_fields: What has to stand beside a file, but for its purpose.
        wraps_create: The word under which a batch stands in the answer to its create.
        takes_expiry: Whether it can be told when to delete files; otherwise such a field is refused as unknown.
        create_fields: What a create may say besides, each true or false.
        create_objects: What a create may say besides, each an object, which changes nothing here.
        takes_any_window: Whether any word for the window is taken, and means the usual one.
        refused_word: The status with which a window or an endpoint is refused that there is not.
        first_line: The number of the first line, where a failed batch names lines.
        deletes_anything: Whether deleting a file that is not there is answered as done.
        nulls: Fields that a batch has and that have no value.
        deletes_input: Whether it deletes an input that a batch has read, unless `auto_delete_input_file` is false.
        wraps_files: Whether files, and lists of them, stand under `data` in an envelope, with names in camel case.
        is_bare_list: Whether the list of batches is an array, and nothing around it.
        pages: Whether lists come in pages. A list that comes whole refuses parameters.
        names_ends: Whether a page names its first and its last item.
        omits: Fields that a batch does not have.
        omits_null: Whether fields without a value are left out.
        counts_at_once: Whether a batch that is not validated yet has counts, of zero.
        errors: How the reasons of a failed batch are written: in a list object, in an array, or as one text.
        shape: `flat`: an object of its own, with counts beside the status and moments as texts. `job`: one with few moments, as
            texts, no counts, and one error.
        fails_without_success: Whether a batch of which every row failed has failed.
        unknown_input: When a create learns that its input is not there: while it validates, or at once by a 404.
        too_late: The status with which the cancel of a batch that is over is refused.
        refusals: The shape of an error: OpenAI's, a number and a message, `detail`, a message alone, or a word alone.
        refuses_keys_in_words: Whether a bad key is refused in plain text.
        content: Whether a file is sent, or its content lies behind a redirect to a signed address.
        row_errors: Whether a refused row has a response with a status, or an error: with the status as its code, or a word.
        empty_error_file: Whether a batch names an error file although there is nothing in it.
        omits_in_answers: Fields that the body of an answer does not have.
        lines: `bare`: a row needs neither method nor address.
    """

    ids: tuple[str, str] = ("file-", "batch_")
    result_ids: str | None = None
    error_purpose: str = "batch_output"
    create_status: int = 200
    upload_path: str = "/files"
    upload_fields: tuple[str, ...] = ()
    wraps_create: str | None = None
    takes_expiry: bool = True
    create_fields: tuple[str, ...] = ()
    create_objects: tuple[str, ...] = ()
    takes_any_window: bool = False
    refused_word: int = 400
    first_line: int = 1
    deletes_anything: bool = False
    nulls: tuple[str, ...] = ()
    deletes_input: bool = False
    wraps_files: bool = False
    is_bare_list: bool = False
    pages: bool = True
    names_ends: bool = True
    omits: tuple[str, ...] = ()
    omits_null: bool = False
    counts_at_once: bool = True
    errors: Literal["list", "array", "text"] = "list"
    shape: Literal["openai", "flat", "job"] = "openai"
    fails_without_success: bool = False
    unknown_input: Literal["late", "at once"] = "late"
    too_late: int = 409
    refusals: Literal["openai", "number", "detail", "message", "word"] = "openai"
    refuses_keys_in_words: bool = False
    content: Literal["sent", "signed"] = "sent"
    row_errors: Literal["response", "code", "word"] = "response"
    empty_error_file: bool = False
    omits_in_answers: tuple[str, ...] = ()
    lines: Literal["whole", "bare"] = "whole"
