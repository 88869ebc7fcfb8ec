"""The screenshots of docs/views, each picture in a real JupyterLab, light and dark: `python -m tests.e2e.docs_images [name ...]`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
from playwright.sync_api import Locator, sync_playwright

from tests.e2e.chromium import find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS, JupyterServer, Lab

FOLDER = Path(__file__).parents[2] / "docs" / "images"
# What an image may take of the repository.
MOST_BYTES = 150_000
# Around a picture, in CSS pixels.
MARGIN = 8

MODEL = 'import mechwidgets as mw\nmodel = mw.HookedModel.from_pretrained("smollm2-135m")'
IOI = "When Mary and John went to the store, John gave a drink to"


@dataclass(frozen=True)
class Image:
    """One picture for the docs.

    Attributes:
        kind: of the view.
        code: the cell that makes it.
        width: of the window, in CSS pixels.
        prepare: what a reader does to it first.
    """

    kind: str
    code: str
    width: int = 1200
    prepare: Callable[[Locator], None] = lambda view: None


PAIR = f'clean="{IOI}", corrupted="{IOI.replace("John gave", "Mary gave")}", answer=" Mary", wrong=" John"'


def _open_attribution(view: Locator) -> None:
    view.get_by_role("button", name="L23H3").click()


def _follow_paris(view: Locator) -> None:
    view.get_by_role("grid").first.focus()
    view.page.keyboard.press("Control+End")
    view.page.keyboard.press("Enter")


def _write(view: Locator) -> None:
    view.get_by_role("button", name="Write", exact=True).click()
    view.get_by_role("list", name="Written without the changes").wait_for()


def _pin_two(view: Locator) -> None:
    view.get_by_role("grid").first.focus()
    keys = ["Control+Home", *["ArrowDown"] * 18, *["ArrowRight"] * 9, "Enter", *["ArrowDown"] * 8, "End", "Enter"]
    for key in keys:
        view.page.keyboard.press(key)


def _switch_off(view: Locator) -> None:
    inside = view.locator(".mechwidgets[data-view='attribution']")
    inside.get_by_role("button", name="L29H1", exact=True).click()
    view.get_by_role("button", name="Switch L29H1 off", exact=True).click()
    view.locator(".mw-prediction-kl").wait_for()
    inside.locator("[aria-busy='true']").wait_for(state="detached")


RUN = f'prompt = "{IOI}"\nlogits, cache = model.run_with_cache(prompt, names_filter=["pattern", "resid_post"])\ntokens = model.to_str_tokens(prompt)'
LOSS = "-logits[0, :-1].log_softmax(-1).gather(-1, model.to_tokens(prompt)[0, 1:, None])[:, 0]"

IMAGES = {
    "attribution": Image(
        "attribution", f'mw.AttributionView(model, "{IOI}", " Mary", " John")', 1120, _open_attribution
    ),
    "logit_lens": Image("logit_lens", 'mw.LogitLensView(model, "The capital of France is")', 1120, _follow_paris),
    "prediction": Image("prediction", f'mw.PredictionView(model, "{IOI}", [mw.Intervention("z", 23)])', 900, _write),
    "patching_stream": Image("patching", f"mw.PatchingView(model, {PAIR})", 1120, _pin_two),
    "patterns": Image(
        "patterns",
        f"{RUN}\nmw.PatternsView(tokens, cache['pattern', 23], head_names=[f'L23H{{head}}' for head in range(9)], head=3)",
        1000,
    ),
    "tokens": Image(
        "tokens",
        f"{RUN}\nimport torch\nloss = torch.cat([torch.zeros(1), {LOSS}])\nmw.TokensView(tokens, loss, value_name='loss (nats)')",
        1000,
    ),
    "top_tokens": Image(
        "top_tokens",
        f"{RUN}\nimport torch\nmw.TopTokensView([tokens], [torch.stack([cache['resid_post', layer][0] for layer in (11, 23)])], k=5)",
        1000,
    ),
    "head": Image("head", f'mw.HeadView(model, "{IOI}", layer=23, head=3)', 1120),
    "workbench": Image("workbench", f'mw.Workbench(model, "{IOI}")', 1400, _switch_off),
}


def take(lab: Lab, name: str, dark: bool) -> None:
    """Take one image.

    Raises:
        ValueError: it is larger than the docs may hold.
    """
    image = IMAGES[name]
    with lab.open_notebook([MODEL, image.code], width=image.width, height=2600, dark=dark) as page:
        page.command("application:toggle-left-area")
        view = page.wait_for_view(image.kind)
        image.prepare(view)
        page.wait_for_view(image.kind)
        page.page.mouse.move(0, 0)
        path = FOLDER / f"{name}{'_dark' if dark else ''}.png"
        box = view.bounding_box()
        assert box is not None
        around = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN}
        size = {"width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN}
        page.page.screenshot(path=path, clip={**around, **size})
        # Pictures have few colours: a palette of them is a third of the bytes.
        PIL.Image.open(path).convert("RGB").quantize(256, dither=PIL.Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.name} has {path.stat().st_size} bytes; make the picture smaller.")


def main() -> None:
    """Take the images that are named, or all."""
    names = sys.argv[1:] or list(IMAGES)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = JupyterServer(Path(home))
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
            for name in names:
                for dark in (False, True):
                    take(Lab(server, browser), name, dark)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
