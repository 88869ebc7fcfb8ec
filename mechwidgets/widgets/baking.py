"""Baking: asking the kernel beforehand what a reader of the saved pictures may ask, as far as there is room for the answers."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mechwidgets.model.run import suspended
from mechwidgets.share.arrays import pack_into
from mechwidgets.share.document import Reply, State
from mechwidgets.widgets.bakes import Answered, Ask, Bake, Unheard, bakes, state_of

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View

# Answers from which the size of all of a kind is estimated, before any more are asked for.
SAMPLED = 3
# Seconds before a progress bar is worth showing.
DELAY = 1.0
# Longer than this nobody waits who has not asked for it by name.
MOST_SECONDS = 600


@dataclass
class Baked:
    """What was recorded of one picture.

    Attributes:
        answers: by the inputs that differ.
        states: the traits with those inputs.
        kept: what a reader can do, in words.
        left_out: what he cannot.
    """

    answers: dict[str, list[Reply]] = field(default_factory=dict)
    states: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def replies(self) -> list[Reply]:
        """With the picture's own inputs."""
        return self.answers.get("{}", [])

    def other_states(self) -> list[State]:
        """With other inputs."""
        return [State(inputs, traits, self.answers.get(key, [])) for key, (inputs, traits) in self.states.items()]


def bake_views(views: Sequence[View], bake: str | bool | Sequence[str], room: int) -> list[Baked]:
    """What is recorded of each picture.

    Args:
        views: the pictures.
        bake: "auto" (what fits), "all", names of what is recorded, or False for nothing.
        room: for all answers, in bytes of the file.

    Raises:
        ValueError: a name that there is not.
    """
    offered = [(view, Baked(), bakes(view) if bake is not False else []) for view in views]
    wanted = _wanted(bake, [one for _, _, several in offered for one in several])
    queue = [(one.rank, at, one) for at, (_, _, several) in enumerate(offered) for one in several]
    for _, at, one in sorted(queue, key=lambda entry: entry[:2]):
        view, baked, _ = offered[at]
        if one.name not in wanted if wanted is not None else bake == "auto" and not one.auto:
            baked.left_out.append(f"{one.name}: {one.what}")
            continue
        # what is asked for by name is recorded whatever its size
        room -= _Baking(view, one, baked).run(None if wanted is not None or bake == "all" else room)
    return [baked for _, baked, _ in offered]


def _wanted(bake: str | bool | Sequence[str], offered: Sequence[Bake]) -> set[str] | None:
    if bake in ("auto", "all", False):
        return None
    names = [bake] if isinstance(bake, str) else bake
    if isinstance(names, bool) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'bake is "auto", "all", False, or a list of names; got {bake!r}.')
    known = sorted({one.name for one in offered})
    for name in names:
        if name not in known:
            raise ValueError(f"There is no {name!r} to bake. These pictures have: {', '.join(known)}.")
    return set(names)


def _bar(name: str, total: int, unit: str) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=name, unit=unit, delay=DELAY, leave=False)


class _Watched(Unheard):
    """A request whose progress is a bar: of one sweep, or one after the other.

    Args:
        name: what is done.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown: Any = None

    def progress_due(self) -> bool:
        """At any time: a bar is drawn only so often."""
        return True

    def progress(self, said: Mapping[str, Any]) -> None:
        """Draw how many cells are `done` of the `total`."""
        if self._shown is None or said["total"] != self._shown.total or said["done"] < self._shown.n:
            self.close()
            self._shown = _bar(self._name, said["total"], "cell")
        self._shown.update(said["done"] - self._shown.n)

    def close(self) -> None:
        """Nothing more is told."""
        if self._shown is not None:
            self._shown.close()


class _Baking:
    """One kind of question of one picture."""

    def __init__(self, view: View, bake: Bake, baked: Baked) -> None:
        self._view, self._bake, self._baked = view, bake, baked
        self._name = f"{type(view).__name__}: {bake.what}"

    def run(self, room: int | None) -> int:
        """Record the answers if they fit; returns their size in bytes."""
        asks = self._asks()
        if not asks and self._bake.before is None:
            return 0
        with _bar(self._name, len(asks), "answer") as bar:
            answers, too_much = self._answers(asks, room, bar.update)
        size = _size(answers)
        if too_much is None and room is not None and size > room:
            too_much = f"about {size / 1e6:.1f} MB"
        if too_much is not None:
            self._baked.left_out.append(f"{self._bake.name}: {self._bake.what} ({too_much})")
            return 0
        for ask, value in answers:
            self._keep(ask, value)
        self._baked.kept.append(self._bake.what)
        return size

    def _answers(
        self, asks: Sequence[Ask], room: int | None, tell: Callable[[int], Any]
    ) -> tuple[list[tuple[Ask, Any]], str | None]:
        """The answers in the order of the questions; or some, and why there is no use in going on."""
        found: dict[int, Any] = {}
        too_much, estimated = None, room is None
        answered, begun = self._answered(asks), time.monotonic()
        while too_much is None:
            # Clicks are answered outside the hooks of the cell that runs now, so these are too.
            with self._view._turn, suspended():
                indices, values = next(answered, ((), ()))
            if not indices:
                break
            found.update(zip(indices, values, strict=True))
            tell(len(indices))
            if not estimated and SAMPLED <= len(found) < len(asks):
                estimated = True
                too_much = self._estimate(asks, found, room or 0, time.monotonic() - begun)
        return [(asks[index], found[index]) for index in sorted(found)], too_much

    def _estimate(self, asks: Sequence[Ask], found: Mapping[int, Any], room: int, seconds: float) -> str | None:
        """Why all answers would be too much, as far as some say; None if they may not be."""
        share = len(asks) / len(found)
        size = int(_size([(asks[index], value) for index, value in found.items()]) * share)
        # what is alike in many answers takes less room than the first few say
        if size > 3 * max(room, 0):
            return f"about {size / 1e6:.1f} MB"
        return f"about {seconds * share / 60:.0f} minutes" if seconds * share > MOST_SECONDS else None

    def _answered(self, asks: Sequence[Ask]) -> Answered:
        if self._bake.together is not None:
            return self._bake.together()
        return (((index,), (self._answer(ask),)) for index, ask in enumerate(asks))

    def _asks(self) -> Sequence[Ask]:
        with self._view._turn, suspended():
            if self._bake.before is not None:
                with closing(_Watched(self._name)) as watched:
                    self._bake.before(watched)
            asks = self._bake.asks
            return asks() if callable(asks) else asks

    def _answer(self, ask: Ask) -> Any:
        if ask.name is None:
            return state_of(self._view, ask.inputs)
        return self._view._handlers()[ask.name](Unheard(), **ask.args)

    def _keep(self, ask: Ask, value: Any) -> None:
        inputs = {name: _as_json(self._view, name, one) for name, one in ask.inputs.items()}
        key = json.dumps(inputs, sort_keys=True)
        if ask.name is not None:
            self._baked.answers.setdefault(key, []).append(Reply(ask.name, ask.args, value))
            return
        now = self._view.get_state(list(value))
        differing = {name: one for name, one in value.items() if now[name] != one}
        self._baked.states[key] = (inputs, differing)


def _as_json(view: View, name: str, value: Any) -> Any:
    to_json = view.trait_metadata(name, "to_json")
    return to_json(value, view) if to_json else value


def _size(answers: Sequence[tuple[Ask, Any]]) -> int:
    """What they take in a document, about."""
    parts: dict[bytes, int] = {}
    said = [[ask.name, dict(ask.args), value] for ask, value in answers]
    text = json.dumps(pack_into(said, lambda data: parts.setdefault(data, len(parts))), default=str)
    return len(zlib.compress(b"".join([*parts, text.encode()]))) * 4 // 3
