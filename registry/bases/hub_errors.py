"""The Hub's errors as ours: one map for bases, rows, push and pull, so that every command says the
same about the same trouble.

nobody / wrong token 401 → Refused      repository or revision 404 → NotFound
403, gated → Refused                    409, 412 → Conflict
429, 5xx, timeouts, no network → Unavailable
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may"


@contextmanager
def explained(action: str, repository: str) -> Iterator[None]:
    """Turn the client's exceptions inside the block into ours.

    Args:
        action: what was being done, as in "the Hub did not let us `action`".
        repository: `org/name`.
    """
    import httpx2
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise Unavailable(
            f"cannot {action} `{repository}`: HF_HUB_OFFLINE is set",
            hint="unset HF_HUB_OFFLINE to allow the Hub to be asked",
        ) from error
    except LocalEntryNotFoundError as error:  # the client's name for "could not ask the Hub"
        raise _from_cause(error, action, repository) from error
    except HfHubHTTPError as error:
        raise _from_status(error, action, repository) from error
    except (httpx2.RequestError, ConnectionError) as error:
        raise _unreachable(error, action, repository) from error
    except ValueError as error:
        if "metadata in README.md" not in str(error):
            raise
        raise InvalidInput(
            f"the Hub does not take the model card of `{repository}`: {_line(error)}",
            hint="correct `license`, `language` or `tags` in the manifest",
        ) from error


def _from_cause(error: Exception, action: str, repository: str) -> AdapterworksError:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _from_status(cause, action, repository)
    if isinstance(cause, OfflineModeIsEnabled):
        return Unavailable(
            f"cannot {action} `{repository}`: HF_HUB_OFFLINE is set",
            hint="unset HF_HUB_OFFLINE to allow the Hub to be asked",
        )
    return _unreachable(cause or error, action, repository)


def _from_status(error: Exception, action: str, repository: str) -> AdapterworksError:
    from huggingface_hub.errors import (
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    said = getattr(error, "server_message", None) or _line(error)
    if isinstance(error, GatedRepoError):
        return Refused(
            f"cannot {action} `{repository}`: its owner gives access on request",
            hint="request access on its page, then log in with `hf auth login`",
        )
    if isinstance(error, RevisionNotFoundError):
        return NotFound(f"cannot {action} `{repository}`: it has no such revision")
    if isinstance(error, RemoteEntryNotFoundError):
        return NotFound(f"cannot {action} `{repository}`: {said}")
    if isinstance(error, RepositoryNotFoundError):
        return NotFound(
            f"cannot {action} `{repository}`: it does not exist or may not be seen with this token",
            hint=f"check the name; if it is private, {_LOGIN} read it",
        )
    if status in (401, 403):
        return Refused(
            f"cannot {action} `{repository}`: the Hub refuses this token ({status}: {said})",
            hint=f"{_LOGIN} {action} it",
        )
    if status in (409, 412):
        return Conflict(
            f"cannot {action} `{repository}`: its branch has moved ({status}: {said})",
            hint="pull it, see what changed, and push again",
        )
    if status == 404:
        return NotFound(f"cannot {action} `{repository}`: {said}")
    if status == 429 or status >= 500:
        return Unavailable(
            f"cannot {action} `{repository}`: the Hub answers {status} ({said})",
            hint="try again later; nothing was changed here",
            retry_after=_retry_after(response),
        )
    return InvalidInput(f"cannot {action} `{repository}`: the Hub answers {status} ({said})")


def _unreachable(error: BaseException, action: str, repository: str) -> Unavailable:
    from huggingface_hub import constants

    return Unavailable(
        f"cannot {action} `{repository}`: {constants.ENDPOINT} cannot be reached ({_line(error)})",
        hint="check the network and HF_ENDPOINT",
    )


def _retry_after(response: object) -> float | None:
    value = getattr(response, "headers", {}).get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")[:200]
