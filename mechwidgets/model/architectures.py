"""Where each model family keeps its parts: one row a family.

Paths are relative to the causal model for `layers` and `final_norm`, and to one layer for the rest. A site is read and edited where the tensor that is
really added to the residual stream passes by: the output of the attention or MLP module, or of the norm that follows it where a family has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Names of the modules in which a family's sites are found."""

    layers: str
    attention: str
    attn_out: str
    mlp_out: str
    mlp_norm: str
    final_norm: str
    softmax_in_float32: bool = True

    def mid_norm(self, config: Any) -> str | None:
        """The norm whose input is resid_mid, or None where attention and MLP read the same input (parallel blocks)."""
        return None if getattr(config, "use_parallel_residual", False) else self.mlp_norm


_LLAMA = Architecture(
    layers="model.layers",
    attention="self_attn",
    attn_out="self_attn",
    mlp_out="mlp",
    mlp_norm="post_attention_layernorm",
    final_norm="model.norm",
)

# Gemma 2 and 3 norm what attention and MLP write before it is added to the residual stream.
_GEMMA_2 = Architecture(
    layers="model.layers",
    attention="self_attn",
    attn_out="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    final_norm="model.norm",
)

ARCHITECTURES: dict[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _GEMMA_2,
    "gemma3_text": _GEMMA_2,
    "gpt2": Architecture(
        layers="transformer.h",
        attention="attn",
        attn_out="attn",
        mlp_out="mlp",
        mlp_norm="ln_2",
        final_norm="transformer.ln_f",
        softmax_in_float32=False,
    ),
    "gpt_neox": Architecture(
        layers="gpt_neox.layers",
        attention="attention",
        attn_out="attention",
        mlp_out="mlp",
        mlp_norm="post_attention_layernorm",
        final_norm="gpt_neox.final_layer_norm",
    ),
}


def architecture_of(hf_model: Any) -> Architecture:
    """The row of a transformers causal language model.

    Raises:
        TypeError: not a causal language model.
        ValueError: a family that is not in the table.
    """
    class_name = type(hf_model).__name__
    config = getattr(hf_model, "config", None)
    if config is None or not hasattr(hf_model, "get_output_embeddings"):
        raise TypeError(
            f"HookedModel wraps a transformers model, got {class_name}. "
            "Pass what AutoModelForCausalLM.from_pretrained returns, or use HookedModel.from_pretrained(name)."
        )
    encoder_decoder = getattr(config, "is_encoder_decoder", False)
    if encoder_decoder or hf_model.get_output_embeddings() is None or not _predicts_next_token(class_name):
        raise TypeError(
            f"{class_name} is not a causal language model: it does not predict the next token from those before it. "
            "mechwidgets needs a decoder with an unembedding, such as LlamaForCausalLM or GPT2LMHeadModel."
        )
    try:
        return ARCHITECTURES[config.model_type]
    except KeyError:
        raise ValueError(
            f"mechwidgets does not know where the family {config.model_type!r} ({class_name}) keeps its parts. "
            f"Families it knows: {', '.join(sorted(ARCHITECTURES))}."
        ) from None


def _predicts_next_token(class_name: str) -> bool:
    # "GPT2LMHeadModel" is GPT-2's causal class; a masked model has an unembedding too, so the class has to tell.
    return "ForCausalLM" in class_name or class_name == "GPT2LMHeadModel"
