"""What is known about a provider: frozen records, and the questions they answer."""

import math
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from asyncbatch.catalog._retention import Retention
from asyncbatch.catalog._typed import Count, FieldError, Text
from asyncbatch.catalog._webhooks import WebhookFacts
from asyncbatch.catalog._wire import Windows, Wire
from asyncbatch.enums import BatchMode, BatchStatus, ErrorClass, InputMode, SubmitSafety
from asyncbatch.exceptions import ConfigError

Date: TypeAlias = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


NOT_A_URL = "expected http:// or https:// and a host, without user, query or fragment"


def is_url(text: str) -> bool:
    """Whether a text is an address that paths can be appended to, and that may be shown."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        return False
    plain = "@" not in parts.netloc and "?" not in text and "#" not in text
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


class Limit(Struct, frozen=True, kw_only=True):
    """A number that the provider enforces. In a user's file the bare number is enough."""

    value: Count
    source: Text | None = None


class Limits(Struct, frozen=True, kw_only=True):
    """How much goes into one batch, one file, one minute. None: the provider names no such limit."""

    requests: Limit | None = None
    file_bytes: Limit | None = None
    line_bytes: Limit | None = None
    upload_bytes: Limit | None = None
    """Of a file that is sent with the API's own call, where a larger one goes to an address of a storage service."""
    inline_requests: Limit | None = None
    """Requests in the body of a create, where fewer fit into it than into a file."""
    inline_bytes: Limit | None = None
    """Bytes of the body of a create that carries its requests."""
    embedding_inputs: Limit | None = None
    """Inputs in all requests of a batch together, where one request may carry several."""
    inputs_per_request: Limit | None = None
    """Texts that one embedding request may ask for."""
    metadata_pairs: Limit | None = None
    metadata_key_chars: Limit | None = None
    metadata_value_chars: Limit | None = None
    list_page: Limit | None = None
    creates_per_hour: Limit | None = None
    uploads_per_minute: Limit | None = None
    open_batches: Limit | None = None
    """Batches of an account that are not over."""
    open_requests: Limit | None = None
    """Requests in them."""
    enqueued_tokens: Limit | None = None
    """Tokens in their inputs."""


class EndpointFacts(Struct, frozen=True, kw_only=True):
    """A path that batches may call, and the format of its answers."""

    path: Text
    mode: BatchMode
    format: Text


class Price(Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens *in a batch*: what is paid, the discount already taken."""

    input_usd: float
    cached_input_usd: float | None = None
    output_usd: float | None = None
    date: Date | None = None
    source: Text | None = None

    def __post_init__(self) -> None:
        for key in ("input_usd", "cached_input_usd", "output_usd"):
            amount: float | None = getattr(self, key)
            if amount is not None and not 0 <= amount < math.inf:
                raise FieldError(key, f"expected a price from 0 up, got {amount}")


class ModelFacts(Struct, frozen=True, kw_only=True):
    """What the models that fit a pattern can do. Case matters; `*`, `?` and `[…]` are wildcards."""

    match: Text
    modes: tuple[BatchMode, ...]
    price: Price | None = None
    max_tokens: Count | None = None
    """Longest answer in tokens: what we ask for where a request names no length and the provider demands one."""
    open_requests: Count | None = None
    """Requests of this model that may be open at once, where the provider counts them by model."""
    enqueued_tokens: Count | None = None
    """Tokens that may be enqueued for this model, where the provider counts them by model."""
    refuses: tuple[Text, ...] = ()
    """What other models take and this one does not, in the words of its body format."""
    source: Text | None = None


class ErrorRule(Struct, frozen=True, kw_only=True):
    """One line of the error table: what is named must be equal, what is left out may be anything."""

    status: tuple[int, ...] = ()
    code: str | None = None
    type: str | None = None
    error_class: ErrorClass = field(name="class")
    auth: bool | None = None
    """Whether the key is at fault, whatever the status says; None: the status says it."""
    says: Text | None = None
    """What its message has in it, in letters of any size: for services whose codes do not tell one fault from another."""

    def fits(self, status: int, code: str | None, kind: str | None, message: str = "") -> bool:
        """Whether an answer is of this kind."""
        same_status = not self.status or status in self.status
        same_words = self.says is None or self.says.casefold() in message.casefold()
        return same_status and same_words and self.code in (None, code) and self.type in (None, kind)


class Credentials(Struct, frozen=True, kw_only=True):
    """Where the key comes from and how it travels; an empty scheme sends the key alone.

    Attributes:
        token_env: Variables with a token in the key's place, which travels as a bearer token and goes before a key.
        token_scope: What a credential object is asked for; None: none is taken.
        token_class: The class of credentials, as `module:Class`, that looks for one by itself.
    """

    env: tuple[Text, ...]
    header: Text
    scheme: str = ""
    token_env: tuple[Text, ...] = ()
    token_scope: Text | None = None
    token_class: Text | None = None


class Option(Struct, frozen=True, kw_only=True):
    """A further setting of an account: the variable it is read from, and the header that carries it, if one does.

    One without a header is read by the provider itself, such as the version in a path. Without one that is needed no call can
    be made.

    Attributes:
        query: The parameter that carries it in the query of every call.
        env_path: What is below the address of `base_url_env` where it is set, in place of `base_url_env_path`.
        endpoint_cut: What paths of endpoints do not begin with on the wire where it is set, such as `/v1`.
        usual: Values that change neither of the two.
    """

    env: Text
    header: Text | None = None
    default: Text | None = None
    query: Text | None = None
    env_path: Text | None = None
    endpoint_cut: Text | None = None
    usual: tuple[Text, ...] = ()
    is_needed: bool = False


class InlineUpTo(Struct, frozen=True, kw_only=True):
    """Submissions as small as this travel in the create itself, where the caller does not choose."""

    requests: Count
    bytes: Count
    source: Text | None = None


class Polling(Struct, frozen=True, kw_only=True):
    """How often a batch may be asked about; and whether the list of batches says as much of each as the batch itself."""

    min_interval_s: Annotated[float, Meta(ge=0, le=86_400)]
    is_list_whole: bool = False
    source: Text | None = None


class ModelsList(Struct, frozen=True, kw_only=True):
    """Where the models stand that an account may ask for: `data[].id` or `models[].name`, in pages if there is a cursor.

    Attributes:
        path: Below the base URL; options of an account stand in it in braces.
        params: The query.
        cursor: What the query calls the place where the next page begins; None where there is one page.
    """

    path: Text
    params: dict[str, str] = field(default_factory=dict[str, str])
    cursor: Text | None = None
    source: Text | None = None


# The provider's own map comes first; then these, the same for everyone (rule 1 of the providers' implementation rules).
_PREFIX = re.compile(r"^(?:job_state_|batch_state_|batch_status_)")
_SPELLINGS: Mapping[str, str] = {
    "canceled": "cancelled",
    "canceling": "cancelling",
    "progress": "in_progress",
    "in_queue": "queued",
}
_STATUSES: Mapping[str, BatchStatus] = {status.value: status for status in BatchStatus}

# The protocol's own meaning of a status, for answers that no rule of the table names.
_REPEATABLE = frozenset({408, 425, 429})
_NEVER_SERVED = frozenset({501, 505})
_REFUSED_KEY = frozenset({401, 403})


class ProviderFacts(Struct, frozen=True, kw_only=True):
    """Everything about a provider that is data. Read from its YAML, with the user's file laid over it.

    Attributes:
        checked: The day on which the facts were last compared with their sources.
        base_url: Where it is; None where each account has an address of its own.
        base_url_env: The variable that names another address.
        base_url_env_path: What is below that address, where the official SDK reads the variable and adds this itself.
        sources: For each section whose entries name no source themselves: where it is documented.
        models: Most specific first, the user's before ours. The first that fits is meant.
        errors: The first rule that fits is meant.
        batch_errors: What the codes of failed batches, and of rows that never ran, mean for the work.
        limits_by_model: Which of the limits on what is open it counts for each model by itself.
        full_codes: By which codes a batch that fails before it ran says that there is no room for it just now.
        window_s: Seconds the provider gives itself for a batch, where nobody asks for others.
        windows: The times that can be asked for; None where nothing is known of them.
        wire: How it deviates from the protocol of its family.
        request_id_pattern: What a request's id must match, whole.
        headers: Sent with every call.
        inputs: How requests travel: in a file, or in the create itself. The first is what happens by itself.
        inline_up_to: What travels inline by itself although files are the rule.
        inline_submit_safety: The safety of a create that carries its requests, where it differs.
        takes_metadata: Whether a batch keeps words of the caller's.
        cancels: Whether a batch that runs can be cancelled.
        answers_after: The ends after which there are answers.
        models_list: Where it lists its models; None where it does not.
        webhooks: How it tells of the end of a batch; None where it is only asked.
        discount: What is taken off the list price, from 0 to 1.
        sureness: How sure the facts are, in a word or two.
    """

    name: Text
    title: Text
    checked: Date
    docs: Text
    base_url: Text | None
    base_url_env: Text | None = None
    base_url_env_path: str = ""
    credentials: Credentials
    submit_safety: SubmitSafety
    inline_submit_safety: SubmitSafety | None = None
    inputs: tuple[InputMode, ...] = (InputMode.FILE,)
    inline_up_to: InlineUpTo | None = None
    takes_metadata: bool = True
    cancels: bool = True
    answers_after: tuple[BatchStatus, ...] = (BatchStatus.COMPLETED, BatchStatus.CANCELLED, BatchStatus.EXPIRED)
    discount: Annotated[float, Meta(ge=0, lt=1)] | None = None
    sureness: Text | None = None
    status: dict[str, BatchStatus]
    limits: Limits
    limits_by_model: tuple[Literal["open_batches", "open_requests", "enqueued_tokens"], ...] = ()
    full_codes: tuple[Text, ...] = ()
    endpoints: tuple[EndpointFacts, ...]
    models: tuple[ModelFacts, ...]
    options: dict[str, Option] = field(default_factory=dict[str, Option])
    errors: tuple[ErrorRule, ...] = ()
    batch_errors: dict[str, ErrorClass] = field(default_factory=dict[str, ErrorClass])
    retention: Retention = Retention()
    polling: Polling
    models_list: ModelsList | None = None
    webhooks: WebhookFacts | None = None
    window_s: Count
    windows: Windows | None = None
    wire: Wire = Wire()
    request_id_pattern: Text = ".+"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    sources: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.base_url is None and self.base_url_env is None:
            raise FieldError("base_url", f"{NOT_A_URL}; or null, with base_url_env")
        if self.base_url is not None and not is_url(self.base_url):
            raise FieldError("base_url", NOT_A_URL)
        if not self.inputs:
            raise FieldError("inputs", "expected file, inline or both, got an empty list")
        try:
            re.compile(self.request_id_pattern)
        except (re.error, OverflowError) as error:  # OverflowError: a{99999999999}
            raise FieldError("request_id_pattern", f"no regular expression: {error}") from error

    @property
    def longest_s(self) -> int:
        """The most seconds that a batch may be given."""
        return self.window_s if self.windows is None else max(self.window_s, self.windows.most_s)

    def below(self, address: str) -> str:
        """Give an address as `base_url_env` holds it with what is below it, unless that is there already."""
        paths = (self.base_url_env_path, *(option.env_path for option in self.options.values()))
        bare = next((address.removesuffix(path) for path in paths if path and address.endswith(path)), address)
        return bare + self.base_url_env_path

    def base_url_for(self, base_url: str, options: Mapping[str, str]) -> str:
        """Give the address for an account with these options: one of them may stand for another path below it."""
        usual = self.base_url_env_path
        path = next((option.env_path for option in self._set(options) if option.env_path), usual)
        return base_url.removesuffix(usual) + path if base_url.endswith(usual) else base_url

    def endpoint_cut(self, options: Mapping[str, str]) -> str:
        """Give what paths of endpoints do not begin with as an account with these options sends them."""
        return next((option.endpoint_cut for option in self._set(options) if option.endpoint_cut), "")

    def endpoint_from_wire(self, endpoint: str | None) -> str | None:
        """Give the path of the endpoint that a batch names, perhaps without what it begins with."""
        cuts = [option.endpoint_cut for option in self.options.values() if option.endpoint_cut]
        paths = (item.path for item in self.endpoints for cut in cuts if item.path == f"{cut}{endpoint}")
        return next(paths, endpoint)

    def _set(self, options: Mapping[str, str]) -> list[Option]:
        found = ((option, options.get(name)) for name, option in self.options.items())
        return [option for option, value in found if value and value not in option.usual]

    def normalize_status(self, raw: str) -> BatchStatus:
        """Read the provider's word for where a batch stands. A word nobody knows is UNKNOWN, which is not terminal."""
        found = self.status.get(raw)  # as nearly every one of them is written
        if found is not None:
            return found
        word = raw.strip().lower()
        if word in self.status:
            return self.status[word]
        word = _PREFIX.sub("", word)
        word = _SPELLINGS.get(word, word)
        return self.status.get(word) or _STATUSES.get(word, BatchStatus.UNKNOWN)

    def model(self, name: str) -> ModelFacts | None:
        """Give what is known about a model: the most specific pattern that fits it, the user's before ours."""
        return next((model for model in self.models if fnmatchcase(name, model.match)), None)

    def supports(self, model: str, mode: BatchMode | None = None) -> bool:
        """Whether a model is known and has the mode. Every known model takes CUSTOM: the body is the caller's."""
        facts = self.model(model)
        return facts is not None and (mode in (None, BatchMode.CUSTOM) or mode in facts.modes)

    def price_of(self, model: str) -> Price | None:
        """Give the price of a model, None where none is known."""
        facts = self.model(model)
        return facts.price if facts else None

    def endpoint_for(self, mode: BatchMode, endpoint: str | None = None) -> EndpointFacts:
        """Give the endpoint that a mode means, or the one that the caller names.

        Raises:
            ConfigError: CUSTOM without an endpoint, an endpoint that is not listed or serves another mode, or a mode
                that the provider has no endpoint for.
        """
        if endpoint is None:
            return self._default_endpoint(mode)
        found = next((item for item in self.endpoints if item.path == endpoint), None)
        if found is None:
            raise self._no_endpoint(f"{self.name} has no endpoint {endpoint!r} for batches", "endpoint.unknown")
        if mode not in (BatchMode.CUSTOM, found.mode):
            hint = f"use mode={found.mode.value}, or leave the endpoint out"
            raise ConfigError(
                f"{self.name}: {endpoint} does not serve mode {mode.value}", code="endpoint.mode", hint=hint
            )
        return found

    def _default_endpoint(self, mode: BatchMode) -> EndpointFacts:
        if mode is BatchMode.CUSTOM:
            raise self._no_endpoint("mode custom needs an endpoint, for instance endpoint='…'", "endpoint.missing")
        found = next((item for item in self.endpoints if item.mode is mode), None)
        if found is None:
            raise self._no_endpoint(f"{self.name} has no endpoint for mode {mode.value}", "mode.unsupported")
        return found

    def _no_endpoint(self, message: str, code: str) -> ConfigError:
        return ConfigError(message, code=code, hint=f"it has {', '.join(item.path for item in self.endpoints)}")

    def format_of(self, endpoint: str) -> str:
        """Name the format of an endpoint's answers, "" for an endpoint that is not listed."""
        return next((item.format for item in self.endpoints if item.path == endpoint), "")

    def classify(self, status: int, code: str | None = None, kind: str | None = None, message: str = "") -> ErrorClass:
        """Say what an HTTP answer means for the call: by the table, else by the status alone.

        Args:
            status: The HTTP status.
            code: The provider's error code.
            kind: What the provider calls the error's type.
            message: What it says in words.
        """
        for rule in self.errors:
            if rule.fits(status, code, kind, message):
                return rule.error_class
        again = status in _REPEATABLE or (status >= 500 and status not in _NEVER_SERVED)
        return ErrorClass.TRANSIENT if again else ErrorClass.PERMANENT

    def is_auth_error(self, status: int, code: str | None = None, kind: str | None = None, message: str = "") -> bool:
        """Say whether an HTTP answer means that the key is refused."""
        told = (rule.auth for rule in self.errors if rule.auth is not None and rule.fits(status, code, kind, message))
        return next(told, status in _REFUSED_KEY)

    def max_tokens_of(self, model: str) -> int | None:
        """Give the longest answer of a model in tokens, None where it is not known."""
        facts = self.model(model)
        return facts.max_tokens if facts else None

    def refuses_of(self, model: str) -> tuple[str, ...]:
        """Give what a model refuses although others take it; nothing is known of an unknown one."""
        facts = self.model(model)
        return facts.refuses if facts else ()

    def classify_batch_error(self, code: str | None) -> ErrorClass:
        """Say what the code of a failed batch, or of a row that never ran, means for the work. Default: PERMANENT."""
        return self.batch_errors.get(code or "", ErrorClass.PERMANENT)
