/**
 * Screenshots of the scenes in scenes.ts, to look at: `node js/test/screenshots.mjs attention 400,1200 light,dark 1,2`
 * (start of the scene's name, widths, themes, pixel ratios; each may be left out) writes test-results/screenshots/*.png.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright";
import { inlineCss } from "../inline_css.mjs";
import { launchOptions } from "./chromium.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = join(HERE, "..", "..", "test-results", "screenshots");
const [prefix = "", widths = "400,800,1200", themes = "light,dark", ratios = "1"] = process.argv.slice(2);

mkdirSync(OUT, { recursive: true });
copyFileSync(join(HERE, "harness.html"), join(OUT, "harness.html"));
await build({
  entryPoints: [join(HERE, "harness.ts")],
  outfile: join(OUT, "harness.js"),
  bundle: true,
  format: "iife",
  plugins: [inlineCss],
});
const browser = await chromium.launch(launchOptions());
for (const ratio of ratios.split(",")) {
  const context = await browser.newContext({ deviceScaleFactor: Number(ratio) });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(error.message));
  for (const scene of await sceneNames(page)) {
    for (const width of widths.split(",")) {
      for (const theme of themes.split(",")) await shoot(page, { scene, width, theme, ratio });
    }
  }
  await context.close();
}
await browser.close();

async function sceneNames(page) {
  await page.goto(harness({}));
  const text = await page.textContent("body");
  return text
    .replace(/.*There are: /s, "")
    .trim()
    .split(", ")
    .filter((name) => name.startsWith(prefix));
}

async function shoot(page, { scene, width, theme, ratio }) {
  await page.setViewportSize({ width: Number(width), height: 700 });
  await page.goto(harness({ scene, theme }));
  await page.waitForSelector('.mechwidgets:not([data-state="loading"])');
  // Two frames: one draws, one shows it.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 80))));
  const path = join(OUT, `${scene}-${width}-${theme}-${ratio}x.png`);
  await page.screenshot({ path, fullPage: true });
  console.log(path);
}

function harness(query) {
  return `${pathToFileURL(join(OUT, "harness.html"))}?${new URLSearchParams(query)}`;
}
