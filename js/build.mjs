/**
 * Builds the front end: `node js/build.mjs` once, `node js/build.mjs --watch` while editing.
 *
 * The pictures become scripts in mechwidgets/static (shared_code.mjs); js/hosts/lab/plugin.ts becomes the JupyterLab extension.
 */

import { spawnSync } from "node:child_process";
import { watch as follow, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { buildScripts, COMMON } from "./shared_code.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const STATIC = join(ROOT, "mechwidgets", "static");
/** What `--watch` makes for anywidget's hot reloading, which follows one file a picture. */
const WHOLE = join(STATIC, "whole");
const LAB = join(ROOT, "js", "hosts", "lab");
/** What JupyterLab loads when it starts: the plugin and the viewer; and what the viewer loads with the first document. */
const LAB_MODULES = ["plugin", "viewer", "pictures"].map((name) => join(LAB, `${name}.ts`));
const MAX_SCRIPT_BYTES = 100 * 1024;
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

const labOptions = {
  ...COMMON,
  absWorkingDir: ROOT,
  format: "esm",
  entryPoints: LAB_MODULES,
  outdir: join(ROOT, "js", "lib"),
  external: ["@jupyterlab/*", "@lumino/*", "./pictures.js"],
};

async function buildPictures() {
  const { texts, inputs } = await buildScripts(ROOT);
  for (const [name, text] of texts) {
    const banner = `/* mechwidgets ${version} ${name}; Apache-2.0; its libraries' licences are in licenses.txt */\n`;
    texts.set(name, checked(name, banner + text));
  }
  for (const [name, text] of texts) write(join(STATIC, `${name}.js`), text);
  write(join(STATIC, "licenses.txt"), licenses(inputs));
  return texts;
}

function checked(name, text) {
  if (text.length > MAX_SCRIPT_BYTES) {
    throw new Error(
      `${name}.js would have ${text.length} bytes; a script may have ${MAX_SCRIPT_BYTES}. ` +
        `\`npx esbuild js/entries/${name}.ts --bundle --minify --analyze\` shows what takes the room.`,
    );
  }
  return text;
}

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  console.log(`${relative(ROOT, path)}  ${(text.length / 1024).toFixed(1)} KB`);
}

/** The licences of the libraries whose code is in the scripts, as those licences ask. */
function licenses(inputs) {
  const packages = new Set(
    inputs.map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean),
  );
  const texts = [...packages].sort().map((name) => {
    const folder = join(ROOT, "node_modules", name);
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file)
      throw new Error(`${name} has no licence file, and its licence asks for one beside the scripts`);
    return `${name}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}

/** A view that was renamed or dropped leaves no script behind, nor does an earlier `--watch`. */
function removeStale(texts) {
  const wanted = new Set(["licenses.txt", ...[...texts.keys()].map((name) => `${name}.js`)]);
  for (const name of readdirSync(STATIC)) {
    if (!wanted.has(name)) rmSync(join(STATIC, name), { recursive: true });
  }
}

/** JupyterLab's own builder, without Python; the core package file keeps it off the network. */
function buildLabExtension() {
  const modules = join(ROOT, "node_modules");
  const command = [
    join(modules, "@jupyter", "builder", "lib", "build-labextension.js"),
    "--core-package-file",
    join(modules, "@jupyterlab", "core-meta", "core.package.json"),
    ".",
  ];
  const { status } = spawnSync(process.execPath, command, { cwd: ROOT, stdio: "inherit" });
  if (status !== 0) throw new Error("the JupyterLab extension did not build; the builder's output is above");
}

async function buildOnce() {
  removeStale(await buildPictures());
  const { outputFiles } = await esbuild.build(labOptions);
  for (const { path, text } of outputFiles) write(path, text);
  buildLabExtension();
}

async function buildWhole() {
  const texts = await buildPictures();
  const [core, loader] = [texts.get("core"), texts.get("loader")];
  for (const [kind, text] of texts) {
    if (["core", "loader", "page", "document"].includes(kind)) continue;
    // As mechwidgets/widgets/bundles.py puts a module together.
    write(join(WHOLE, `${kind}.js`), `${core}${text}${loader}export default mechwidgets.load("${kind}");\n`);
  }
}

/** A build with errors writes nothing: an output that vanishes would stop anywidget's own watcher for good. */
async function watch() {
  const build = () => buildWhole().catch((error) => console.error(error.message));
  let due;
  follow(join(ROOT, "js"), { recursive: true }, () => {
    clearTimeout(due);
    due = setTimeout(build, 50);
  });
  await build();
  console.log(
    "watching js/ (a change of the JupyterLab extension needs `npm run build` and a reload of the page)",
  );
}

try {
  await (process.argv.includes("--watch") ? watch() : buildOnce());
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
