/**
 * Builds the front end: `node js/build.mjs` once, `node js/build.mjs --watch` while editing.
 *
 * Each js/entries/<kind>.ts becomes mechwidgets/static/<kind>.js, one self-contained module: Jupyter imports it from a
 * blob URL, where a relative import of a second file would fail. js/hosts/lab/plugin.ts becomes the JupyterLab extension.
 */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { inlineCss } from "./inline_css.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const STATIC = join(ROOT, "mechwidgets", "static");
const ENTRIES = join(ROOT, "js", "entries");
const LAB_PLUGIN = join(ROOT, "js", "hosts", "lab", "plugin.ts");
/** Every instance of a widget carries its bundle, in the page and in a saved notebook. */
const MAX_BUNDLE_BYTES = 100 * 1024;
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

/**
 * A widget is loaded as a module of its own, and a page keeps every module that it ever loaded. So the first picture of
 * a bundle leaves what it made where those after it find it: a cell that is run a hundred times compiles it once.
 */
const onceInAPage = {
  name: "once-in-a-page",
  setup(build) {
    build.onEnd((result) => {
      for (const file of result.outputFiles ?? []) {
        const [, body, name] = /^(.*)export\s*\{\s*(\S+) as default\s*\};?\s*$/s.exec(file.text) ?? [];
        if (!body) throw new Error(`${file.path} does not end with its default export.`);
        const key = `mw${createHash("sha256").update(body).digest("hex").slice(0, 12)}`;
        const shared = `export default globalThis.${key}??=(()=>{${body}return ${name}})();\n`;
        file.contents = new TextEncoder().encode(shared);
      }
    });
  },
};

/** Files are written only when there are no errors: an output that vanishes would stop anywidget's own watcher for good. */
const writeWhenGood = {
  name: "write-when-good",
  setup(build) {
    build.onEnd((result) => {
      if (result.errors.length > 0) return;
      for (const { path, contents } of result.outputFiles) {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, contents);
        console.log(`${relative(ROOT, path)}  ${(contents.length / 1024).toFixed(1)} KB`);
      }
    });
  },
};

/** The source is ASCII: with one character beyond Latin 1 a browser keeps all of it with two bytes a character. */
const shared = {
  absWorkingDir: ROOT,
  bundle: true,
  format: "esm",
  target: "es2022",
  write: false,
  legalComments: "none",
  charset: "ascii",
  logLevel: "warning",
  plugins: [inlineCss, writeWhenGood],
};

function viewOptions(entry) {
  const kind = basename(entry, ".ts");
  return {
    ...shared,
    entryPoints: [join(ENTRIES, entry)],
    outfile: join(STATIC, `${kind}.js`),
    minify: true,
    metafile: true,
    plugins: [inlineCss, onceInAPage, writeWhenGood],
    banner: {
      js: `/* mechwidgets ${version} ${kind}; Apache-2.0; its libraries' licences are in licenses.txt */`,
    },
  };
}

const labOptions = {
  ...shared,
  entryPoints: [LAB_PLUGIN],
  outfile: join(ROOT, "js", "lib", "plugin.js"),
  external: ["@jupyterlab/*", "@lumino/*"],
};

/** The licences of the libraries whose code is in the bundles, as those licences ask. */
function writeLicenses(results) {
  const inputs = results.flatMap((result) => Object.keys(result.metafile.inputs));
  const packages = new Set(
    inputs.map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean),
  );
  const texts = [...packages].sort().map((name) => {
    const folder = join(ROOT, "node_modules", name);
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file) throw new Error(`${name} has no licence file, and its licence asks for one beside the bundle`);
    return `${name}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  writeFileSync(join(STATIC, "licenses.txt"), texts.join(`\n${"-".repeat(72)}\n\n`));
}

/** A view that was renamed or dropped leaves no bundle behind. */
function removeStale() {
  const wanted = new Set(["licenses.txt", ...entries().map((entry) => entry.replace(/\.ts$/, ".js"))]);
  for (const name of readdirSync(STATIC)) {
    if (!wanted.has(name)) rmSync(join(STATIC, name), { recursive: true });
  }
}

function checkSize(result) {
  for (const { path, contents } of result.outputFiles) {
    if (contents.length > MAX_BUNDLE_BYTES) {
      throw new Error(
        `${relative(ROOT, path)} is ${contents.length} bytes; a view may have ${MAX_BUNDLE_BYTES}. ` +
          `\`npx esbuild ${relative(ROOT, path)} --analyze\` shows what takes the room.`,
      );
    }
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
  const views = await Promise.all(entries().map((entry) => esbuild.build(viewOptions(entry))));
  views.forEach(checkSize);
  writeLicenses(views);
  removeStale();
  if (existsSync(LAB_PLUGIN)) {
    await esbuild.build(labOptions);
    buildLabExtension();
  }
}

async function watch() {
  const options = entries().map(viewOptions);
  if (existsSync(LAB_PLUGIN)) options.push(labOptions);
  for (const each of options) await (await esbuild.context(each)).watch();
  console.log(
    "watching js/ (a change of the JupyterLab extension needs `npm run build` and a reload of the page)",
  );
}

function entries() {
  return readdirSync(ENTRIES)
    .filter((name) => name.endsWith(".ts"))
    .sort();
}

try {
  await (process.argv.includes("--watch") ? watch() : buildOnce());
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
