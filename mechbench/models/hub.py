"""Fetching a model's files from the Hugging Face hub, or from its cache on this machine."""

from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mechbench.errors import ModelNotFoundError

# The GPT-2 family by the names that everybody uses, and where it lives on the hub.
GPT2_FAMILY = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}

_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_UNWANTED = ["*/*", "consolidated*", "*adapter*"]
_TIMEOUT_S = 5.0


def download(repo: str, revision: str | None) -> Path:
    """The folder of a hub model's files; its name is the commit.

    The hub is asked once, with a timeout of five seconds, for what is new; without a connection
    or with ``HF_HUB_OFFLINE=1`` the cache alone is used.

    Raises:
        ModelNotFoundError: no such model or revision, no access to it, or neither the hub nor the
            cache has it.
    """
    names = [repo, *(short for short, full in GPT2_FAMILY.items() if full == repo)]
    unreachable: Exception | None = None
    for name in names:  # a cache may hold either spelling of the same model
        try:
            return _snapshot(name, revision)
        except LocalEntryNotFoundError as error:
            unreachable = error
    raise ModelNotFoundError(
        f"The model {repo!r}{_at(revision)} is not in the cache of Hugging Face "
        f"({constants.HF_HUB_CACHE}), and "
        + ("HF_HUB_OFFLINE is set. " if constants.HF_HUB_OFFLINE else "the hub is not reachable. ")
        + "Connect once to download it, set HF_HOME to a cache that holds it, or give "
        "the path of a folder with its files. Bundled models need no connection: see "
        "'mechbench models'."
    ) from unreachable


def _snapshot(repo: str, revision: str | None) -> Path:
    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=_WANTED,
                ignore_patterns=_UNWANTED,
                etag_timeout=_TIMEOUT_S,
            )
        )
    except GatedRepoError as error:
        raise ModelNotFoundError(
            f"{repo!r} asks for an agreement on its page before it can be downloaded. Accept it "
            "there, then log in with 'hf auth login'."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFoundError(f"{repo!r} has no revision {revision!r} on the hub.") from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"The Hugging Face hub has no model {repo!r}, or it is private. Check the spelling, or "
            "log in with 'hf auth login'."
        ) from error
    except HFValidationError as error:
        raise ModelNotFoundError(
            f"{repo!r} is not the name of a hub model (owner/name) and no such folder exists."
        ) from error
    except LocalEntryNotFoundError:
        raise
    except (HfHubHTTPError, OSError) as error:
        raise ModelNotFoundError(f"Downloading {repo!r}{_at(revision)} failed: {error}") from error


def _at(revision: str | None) -> str:
    return "" if revision is None else f" at revision {revision!r}"
