"""What is wrong with prompts and answers while they are typed: nothing runs, so it can be said at every key."""

from __future__ import annotations

from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any

from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.prompt_pair import PromptPair, check_answer

# Tokens that the page is told of a prompt.
MOST_TOKENS = 400


def check_typed(
    model: HookedModel, prompt: str, corrupted: str, answer: str, wrong: str, prepend_bos: bool | None
) -> dict[str, Any]:
    """How a question would be read.

    Args:
        model: whose tokens count.
        prompt: a text.
        corrupted: another, "" for none.
        answer, wrong: texts of one token, "" for none.
        prepend_bos: as in `HookedModel.to_tokens`.

    Returns:
        For `prompt` and `corrupted` their first `tokens`, how many there are (`count`), and which of those `differ` from the other's; and by field name, for
        those of which something is wrong, the `problems`.
    """
    problems: dict[str, str] = {}
    read = {
        name: _read(model, text, name, prepend_bos, problems)
        for name, text in {"prompt": prompt, "corrupted": corrupted}.items()
    }
    after = read["prompt"][-1] if read["prompt"] else ""
    if answer:
        _note(problems, "answer", lambda: check_answer(model, answer, "Answer", after))
    if wrong:
        _note(problems, "wrong", lambda: check_answer(model, wrong, "Wrong answer", after))
    if corrupted and not problems:
        _note(problems, "corrupted", lambda: PromptPair.of(model, prompt, corrupted, prepend_bos=prepend_bos))
    if answer and answer == wrong:
        problems["wrong"] = "The answer and the wrong answer are the same token, so nothing tells them apart."
    differ = _differences(read["prompt"], read["corrupted"]) if corrupted else {name: [] for name in read}
    prompts = {
        name: {"tokens": tokens[:MOST_TOKENS], "count": len(tokens), "differ": differ[name][:MOST_TOKENS]}
        for name, tokens in read.items()
    }
    return {**prompts, "problems": problems}


def _read(model: HookedModel, text: str, name: str, prepend_bos: bool | None, problems: dict[str, str]) -> list[str]:
    if name == "corrupted" and not text:
        return []
    found: list[str] = []

    def read() -> None:
        found.extend(model.token_texts(model.to_tokens(text, prepend_bos)[0].tolist()))

    _note(problems, name, read)
    return found


def _note(problems: dict[str, str], name: str, attempt: Callable[[], Any]) -> None:
    try:
        attempt()
    except ValueError as error:
        problems[name] = str(error)


def _differences(prompt: list[str], corrupted: list[str]) -> dict[str, list[bool]]:
    """Which tokens of each have no equal counterpart in the other: position by position where there are equally many."""
    if len(prompt) == len(corrupted):
        differ = [one != other for one, other in zip(prompt, corrupted, strict=True)]
        return {"prompt": differ, "corrupted": differ}
    marks = {"prompt": [True] * len(prompt), "corrupted": [True] * len(corrupted)}
    for block in SequenceMatcher(a=prompt, b=corrupted, autojunk=False).get_matching_blocks():
        marks["prompt"][block.a : block.a + block.size] = [False] * block.size
        marks["corrupted"][block.b : block.b + block.size] = [False] * block.size
    return marks
