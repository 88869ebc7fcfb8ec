"""Baking: asking the kernel beforehand what a reader of the saved pictures may ask, as far as there is room for the answers."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mechwidgets.model.run import suspended
from mechwidgets.share.arrays import pack_into
from mechwidgets.share.document import Reply, State
from mechwidgets.widgets.bakes import Ask, Bake, Unheard, bakes, state_of

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


class _Baking:
    """One kind of question of one picture."""

    def __init__(self, view: View, bake: Bake, baked: Baked) -> None:
        self._view, self._bake, self._baked = view, bake, baked

    def run(self, room: int | None) -> int:
        """Record the answers if they fit; returns their size in bytes."""
        asks, answers = self._asks(), []
        if not asks and self._bake.before is None:
            return 0
        begun = time.monotonic()
        for count, ask in enumerate(self._shown(asks)):
            answers.append((ask, self._answer(ask)))
            if room is not None and count + 1 == SAMPLED < len(asks):
                share = len(asks) / SAMPLED
                size, seconds = int(_size(answers) * share), (time.monotonic() - begun) * share
                # what is alike in many answers takes less room than the first few say
                if size > 3 * max(room, 0):
                    return self._leave_out(f"about {size / 1e6:.1f} MB")
                if seconds > MOST_SECONDS:
                    return self._leave_out(f"about {seconds / 60:.0f} minutes")
        size = _size(answers)
        if room is not None and size > room:
            return self._leave_out(f"about {size / 1e6:.1f} MB")
        for ask, value in answers:
            self._keep(ask, value)
        self._baked.kept.append(self._bake.what)
        return size

    def _asks(self) -> Sequence[Ask]:
        # Clicks are answered outside the hooks of the cell that runs now, so these are too.
        with self._view._turn, suspended():
            if self._bake.before is not None:
                self._bake.before()
            asks = self._bake.asks
            return asks() if callable(asks) else asks

    def _leave_out(self, why: str) -> int:
        self._baked.left_out.append(f"{self._bake.name}: {self._bake.what} ({why})")
        return 0

    def _shown(self, asks: Sequence[Ask]) -> Iterator[Ask]:
        from tqdm.auto import tqdm

        name = f"baking {self._bake.name}"
        return iter(tqdm(asks, desc=name, unit="answer", delay=DELAY, leave=False))

    def _answer(self, ask: Ask) -> Any:
        view = self._view
        with view._turn, suspended():
            if ask.name is None:
                return state_of(view, ask.inputs)
            return view._handlers()[ask.name](Unheard(), **ask.args)

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
