"""Where weights come from: a known model, a folder, a GGUF file, Ollama, or the Hugging Face cache.

Nothing here executes what it loads: no pickles, and never `trust_remote_code`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mechwidgets.model import (
    aliases,
    conversion,
    folders,
    gguf,
    gguf_header,
    hub,
    memory,
    ollama,
    placement,
)
from mechwidgets.model.conversion import KNOWN_MODELS
from mechwidgets.model.errors import ModelNotFoundError, UnsupportedModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = ["Loaded", "ModelNotFoundError", "UnsupportedModelError", "fetch", "load", "resolve"]

OFFLOAD = ("device_map", "max_memory", "offload_folder")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.json")


class Loaded(NamedTuple):
    """What `load` answers with."""

    model: Any
    """The transformers model, as transformers made it."""
    tokenizer: Any
    """Its tokenizer, or None for a folder or file that has none."""
    name: str
    """What to call it in a picture."""


def fetch(name: str) -> Path:
    """Bring a known model to this machine, unless it is here already, and say where it is.

    Raises:
        ModelNotFoundError: it is not a known name, or it could not be installed.
    """
    if name not in KNOWN_MODELS:
        raise ModelNotFoundError(
            f"mechwidgets has no model {name!r} to fetch. {_known_names(name)} "
            f"Models on the Hugging Face hub are downloaded by its own command: hf download {aliases.official_name(name)}"
        )
    return conversion.fetch(name)


def resolve(name_or_path: str | Path) -> Path | str:
    """What a name or path stands for: a folder, a GGUF file, or a name on the hub, for the Hugging Face cache.

    Raises:
        ModelNotFoundError: a known model that has not been fetched, a path at which there is nothing, or a name that
            Ollama does not have.
        TypeError: neither a text nor a path.
        UnsupportedModelError: a file that is no GGUF file, or a model that transformers does not have.
    """
    given: Any = name_or_path
    if not isinstance(given, str | Path):
        raise TypeError(
            f"A model is named with a text or a path, such as 'smollm2-135m'; got {given!r}. A transformers model that is loaded already: "
            "mw.HookedModel(hf_model, tokenizer)."
        )
    name = str(name_or_path)
    if name in KNOWN_MODELS:
        folder = conversion.find(name)
        if folder is None:
            raise ModelNotFoundError(f"{name} is not on this machine. Get it with: mechwidgets fetch {name}")
        return folder
    if name.startswith(ollama.PREFIX):
        if not name.removeprefix(ollama.PREFIX).strip():
            here = ", ".join(ollama.names()) or "none"
            raise ModelNotFoundError(
                f"{name!r} has no name behind it: expected ollama:NAME[:TAG]. Ollama has here: {here}."
            )
        return ollama.find(name.removeprefix(ollama.PREFIX))
    if not name.strip():
        raise ModelNotFoundError(f"The name of the model is empty. {_known_names(name)}")
    path = _path(name)
    if path is not None:
        return path
    if isinstance(name_or_path, Path) or Path(name).is_absolute() or name.startswith((".", "~")) or "\\" in name:
        raise ModelNotFoundError(f"There is no folder {name}. {_known_names(name)}")
    if aliases.only_in_transformer_lens(name):
        raise UnsupportedModelError(
            f"{name} is a network of TransformerLens' own, of which there is no transformers model. Expected a model "
            "of transformers, such as gpt2-small or pythia-70m."
        )
    return aliases.official_name(name)


def _path(name: str) -> Path | None:
    path = Path(name).expanduser()
    if path.is_dir():
        return _gguf_in(path) or path
    if path.is_file():
        if path.suffix.lower() != ".gguf" and not gguf_header.is_gguf(path):
            raise ModelNotFoundError(
                f"{name} is a file; expected the folder that holds a model's config.json, or a GGUF file."
            )
        return path
    if path.suffix.lower() == ".gguf":
        raise ModelNotFoundError(f"There is no file {name} (looked in {path.parent.resolve()}).")
    return None


def load(
    name_or_path: str | Path,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    **offload: Any,
) -> Loaded:
    """Load a causal language model and its tokenizer; from this machine alone if it is here.

    Args:
        name_or_path: a known name ("smollm2-135m"), a folder that `save_pretrained` wrote, a GGUF file or a folder with
            one, "ollama:NAME[:TAG]", or a name on the hub, also in TransformerLens' short form ("gpt2-small").
        dtype: of the weights, such as torch.bfloat16 or "bfloat16"; by default as they were saved, or float32 where a
            GGUF file has them packed.
        device: where to put them; by default where transformers puts them, the CPU.
        offload: `device_map`, `max_memory` and `offload_folder`, as transformers takes them, for a model that is larger
            than one device. `device_map="auto"` fills the GPUs first, then the CPU's memory, then the disk.

    Raises:
        ModelNotFoundError: no such model on this machine, and none could be downloaded.
        TypeError: neither a text nor a path, or an option that is not known here.
        UnsupportedModelError: it is not a causal language model, or its files are broken, or its weights pickled or incomplete.
        ValueError: an unknown dtype or device, or one that this machine does not have.
        mechwidgets.model.memory.NotEnoughMemoryError: the weights in a GGUF file, unpacked, are more than fit.
    """
    unknown = sorted(set(offload) - set(OFFLOAD))
    if unknown:
        raise TypeError(
            f"Unknown argument {', '.join(map(repr, unknown))}: a model is loaded with dtype, device, {', '.join(OFFLOAD)}. Weights that are to be quantised: "
            "load the model with transformers and wrap it, mw.HookedModel(hf_model, tokenizer)."
        )
    options = placement.options(dtype, device, **offload)
    place = resolve(name_or_path)
    name = _label(name_or_path, place)
    if not isinstance(place, Path):
        loaded = _load_by_name(place, name, options)
    elif place.is_file():
        loaded = _load_gguf(place, name, options)
    else:
        folders.check(place)
        with folders.broken_as_unsupported(place, "device_map" in options):
            loaded = _load(place, name, options, local_files_only=True)
    if "device_map" in options:
        placement.check_dispatched(loaded.model, name)
    elif device is not None and placement.quantisation(loaded.model.config) is None:
        loaded.model.to(device)
    return loaded


def _label(name_or_path: str | Path, place: Path | str) -> str:
    name = str(name_or_path)
    if name in KNOWN_MODELS or not isinstance(place, Path):
        return name
    if name.startswith(ollama.PREFIX):
        return name.removeprefix(ollama.PREFIX)
    return place.resolve().name if place.is_dir() else place.stem


def _gguf_in(folder: Path) -> Path | None:
    """The GGUF file that a folder is there for: one without a transformers model beside it."""
    if (folder / "config.json").is_file():
        return None
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".gguf" and path.is_file())
    if len(files) > 1:
        shown = ", ".join(path.name for path in files[:8]) + (", …" if len(files) > 8 else "")
        raise UnsupportedModelError(
            f"The folder {folder} holds {len(files)} GGUF files ({shown}). Name the one you mean: {files[0]}"
        )
    return files[0] if files else None


def _load_gguf(path: Path, name: str, options: dict[str, Any]) -> Loaded:
    header = gguf_header.read_header(path)
    if options.get("dtype", "auto") == "auto":
        options = {**options, "dtype": gguf.own_dtype(header)}
    if "device_map" not in options:
        memory.check_weights(header.n_weights, options["dtype"], name)
    with _no_progress_bars(quiet=True):
        model, tokenizer, info = gguf.load(header, name, options)
    _check_causal(model.config, name)
    folders.check_whole(info, name, model.config)
    return Loaded(model.eval(), tokenizer, name)


def _load_by_name(repository: str, name: str, options: dict[str, Any]) -> Loaded:
    """From the Hugging Face cache; only what is missing there is asked for over the network, if that is allowed."""
    try:
        return _load(repository, name, options, local_files_only=True)
    except UnsupportedModelError:
        raise
    except (OSError, ValueError) as error:
        reason = first_line(error)
    missing = hub.why_not(repository, _nearest(name))
    if missing is None:
        try:
            return _load(repository, name, options, local_files_only=False)
        except UnsupportedModelError:
            raise
        except (OSError, ValueError) as error:
            missing, reason = "nor could it be had from the hub", first_line(error)
    called = repr(name) if repository == name else f"{name!r} ({repository} on the hub)"
    raise ModelNotFoundError(
        f"There is no model {called}: it is not a known name, not a folder or GGUF file here, and not in the Hugging "
        f"Face cache, and {missing}. {_known_names(name)} transformers said: {reason}"
    )


def _load(place: Path | str, name: str, options: dict[str, Any], *, local_files_only: bool) -> Loaded:
    from transformers import AutoConfig, AutoModelForCausalLM

    with _no_progress_bars(local_files_only):
        config = AutoConfig.from_pretrained(place, local_files_only=local_files_only)
        _check_causal(config, name)
        tokenizer = _load_tokenizer(place, local_files_only)
        try:
            with placement.quantised_as_unsupported(config, name):
                model, info = AutoModelForCausalLM.from_pretrained(
                    place,
                    config=config,
                    local_files_only=local_files_only,
                    use_safetensors=True,
                    output_loading_info=True,
                    **options,
                )
        except OSError as error:
            if "safetensors" not in str(error):
                raise
            raise UnsupportedModelError(folders.how_to_convert(name)) from error
    folders.check_whole(info, name, config)
    return Loaded(model.eval(), tokenizer, name)


def _load_tokenizer(place: Path | str, local_files_only: bool) -> Any:
    from transformers import AutoTokenizer

    if isinstance(place, Path) and not any((place / file).is_file() for file in TOKENIZER_FILES):
        return None
    return AutoTokenizer.from_pretrained(place, local_files_only=local_files_only)


def _check_causal(config: Any, name: str) -> None:
    """Refuse what AutoModelForCausalLM would open, but not as what it was trained to be."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    expected = (
        "Expected a causal (decoder-only) language model, such as one of the GPT-2, Llama, Qwen or Gemma families."
    )
    trained_as = getattr(config, "architectures", None) or []
    shown = " / ".join(trained_as) or config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"{name} is an encoder-decoder ({shown}). {expected}")
    causal_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if causal_class is None:
        raise UnsupportedModelError(f"{name} is a {shown}, which has no causal language model head. {expected}")
    names = causal_class if isinstance(causal_class, tuple) else (causal_class,)
    accepted = {cls.__name__ for cls in names}
    is_causal = any(a in accepted or "CausalLM" in a or "LMHead" in a for a in trained_as)
    if trained_as and not is_causal:
        raise UnsupportedModelError(f"{name} was saved as a {shown}, not as a causal language model. {expected}")


@contextlib.contextmanager
def _no_progress_bars(quiet: bool) -> Iterator[None]:
    """Keep transformers' bar for a second of loading out of the notebook; that of a download stays."""
    from transformers.utils import logging

    if not quiet or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _nearest(name: str) -> str | None:
    return aliases.nearest(name, *KNOWN_MODELS)


def _known_names(name: str) -> str:
    near = _nearest(name)
    hint = f" Did you mean {near!r}?" if near and near.lower() != name.lower() else ""
    return f"Known names: {', '.join(KNOWN_MODELS)}.{hint}"
