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
        output_purpose: The purpose of a file of answers.
        error_purpose: The purpose of a file of errors.
        create_status: The status of an accepted create.
        upload_path: Where files are sent.
        upload_fields: What has to stand beside a file, but for its purpose.
        uploads_aside: Whether a file can be announced as well, and be brought to the address that it is then redirected to.
        file_fields: What else an object of a file says.
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
        cancels_once: Whether that goes for one that is cancelled already, too.
        refusals: The shape of an error: OpenAI's, a number and a message, `detail`, a message alone, a word alone, or OpenAI's
            with the status for a code (below the older prefix, with a target and details).
        refuses_keys_in_words: Whether a bad key is refused in plain text.
        content: Whether a file is sent, or its content lies behind a redirect to a signed address.
        row_errors: Whether a refused row has a response with a status, or an error: with the status as its code, or a word.
        empty_error_file: Whether a batch names an error file although there is nothing in it.
        omits_in_answers: Fields that the body of an answer does not have.
        lines: `bare`: a row needs neither method nor address.
        key_header: The header that may carry a key, where that is another one than a bearer token's.
        is_bearer_shared: Whether bearer tokens, which change by the hour, are all of one account.
        request_id_header: The header with an answer's id.
        is_older_loose: Whether below its older prefix it answers as `openai_older` says, and every call names a version.
        processing_s: Seconds for which an upload is looked through; a create before that is refused.
        expiry: How a form says when a file may go: `expires_after[seconds]`, or `expires_after.seconds`.
        promised_s: The window that a batch is told, where it does not end with it.
        blank: Fields that a batch has and that are empty texts.
        blanks_failed: Whether a batch that failed names its results by empty texts, and has no counts.
        codes: Other codes for what is wrong with an input.
        names_lines: Whether a line of results has an id.
        filters: Whether what is asked and answered is looked through, and refused where it says `[[filter]]`.
        idempotency_header: The header whose key makes a create that comes again return the batch of the first.
        checks_uploads: Whether the lines of a file are looked at before its upload is answered, bodies too.
        content_accept: What a download has to say that it takes.
    """

    ids: tuple[str, str] = ("file-", "batch_")
    result_ids: str | None = None
    output_purpose: str = "batch_output"
    error_purpose: str = "batch_output"
    create_status: int = 200
    upload_path: str = "/files"
    upload_fields: tuple[str, ...] = ()
    uploads_aside: bool = False
    file_fields: dict[str, str | int | bool] = {}
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
    cancels_once: bool = False
    refusals: Literal["openai", "number", "detail", "message", "word", "target"] = "openai"
    refuses_keys_in_words: bool = False
    content: Literal["sent", "signed"] = "sent"
    row_errors: Literal["response", "code", "word"] = "response"
    empty_error_file: bool = False
    omits_in_answers: tuple[str, ...] = ()
    lines: Literal["whole", "bare"] = "whole"
    key_header: str | None = None
    is_bearer_shared: bool = False
    request_id_header: str = "x-request-id"
    is_older_loose: bool = False
    processing_s: float = 0.0
    expiry: Literal["brackets", "dots"] = "brackets"
    promised_s: int | None = None
    blank: tuple[str, ...] = ()
    blanks_failed: bool = False
    codes: dict[str, str] = {}
    names_lines: bool = True
    filters: bool = False
    idempotency_header: str | None = None
    checks_uploads: bool = False
    content_accept: str | None = None
