/**
 * Turns the front end into scripts that share what they have in common: `core.js`, and one file a view with its own code.
 *
 * Each file is valid as a module and as a classic script: it has no import or export, and leaves nothing but one object
 * on globalThis, whose name is a hash of all files of the build. So files of different builds never meet, and whatever
 * loads a file twice runs it once.
 */

import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { basename, join, relative, sep } from "node:path";
import * as esbuild from "esbuild";
import { inlineCss } from "./inline_css.mjs";

/** Stands for the name of the object until all files are there to be hashed. */
const REGISTRY = "mechwidgets_REGISTRY";
/** Marks what our own plugin asks esbuild. */
const ASKED = Symbol("asked");

/** The source is ASCII: with one character beyond Latin 1 a browser keeps all of it with two bytes a character. */
export const COMMON = {
  bundle: true,
  target: "es2022",
  write: false,
  legalComments: "none",
  charset: "ascii",
  logLevel: "warning",
  plugins: [inlineCss],
};

/** The text of each file by its name, and the inputs that they were made from. */
export async function buildScripts(root) {
  const shared = new Map();
  const options = { ...COMMON, absWorkingDir: root, minify: true, metafile: true };
  const views = await esbuild.build({
    ...options,
    entryPoints: entries(root),
    outdir: root,
    format: "cjs",
    define: { REGISTRY: JSON.stringify(REGISTRY) },
    plugins: [inlineCss, shareAllBut(["entries", "views", "document"], join(root, "js"), shared)],
  });
  const core = await esbuild.build({
    ...options,
    stdin: coreEntry(root, shared),
    outfile: "core.js",
    format: "cjs",
  });
  const loader = await esbuild.build({
    ...options,
    entryPoints: [join(root, "js", "hosts", "loader.ts")],
    format: "iife",
    globalName: "mechwidgets",
    define: { REGISTRY: JSON.stringify(REGISTRY) },
  });
  const page = await esbuild.build({
    ...options,
    entryPoints: [join(root, "js", "hosts", "page.ts")],
    format: "iife",
    define: { REGISTRY: JSON.stringify(REGISTRY) },
  });
  const texts = new Map([
    ["core", wrapCore(textOf(core))],
    ...views.outputFiles.map(({ path, text }) => [
      basename(path, ".js"),
      wrapView(basename(path, ".js"), text),
    ]),
    ["loader", textOf(loader)],
    ["page", textOf(page)],
  ]);
  return {
    texts: named(texts),
    inputs: [views, core, loader, page].flatMap(({ metafile }) => Object.keys(metafile.inputs)),
  };
}

function entries(root) {
  const folder = join(root, "js", "entries");
  return readdirSync(folder)
    .filter((name) => name.endsWith(".ts"))
    .sort()
    .map((name) => join(folder, name));
}

/** An esbuild plugin: what lies outside of these folders of `home` is left to be required, and noted in `shared`. */
function shareAllBut(folders, home, shared) {
  // What Python and a view both read is the view's own.
  const isOwn = (path) => folders.includes(relative(home, path).split(sep)[0]) || path.endsWith(".json");
  return {
    name: "shared-code",
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, pluginData, ...from }) => {
        if (from.kind === "entry-point" || pluginData === ASKED) return;
        const found = await build.resolve(path, {
          kind: from.kind,
          importer: from.importer,
          resolveDir: from.resolveDir,
          pluginData: ASKED,
        });
        // What esbuild resolves by itself is also read by tsconfig.json; what a plugin says is not.
        if (found.errors.length > 0 || found.namespace !== "file" || isOwn(found.path)) return;
        const inside = relative(home, found.path);
        const isPackage = inside.startsWith("..");
        const name = isPackage ? path : inside.replace(/\.tsx?$/, "").replaceAll(sep, "/");
        shared.set(name, isPackage ? path : found.path);
        return { path: name, external: true };
      });
    },
  };
}

/** A module that hands out all that views share, by name. */
function coreEntry(root, shared) {
  const lines = [...shared]
    .sort()
    .map(([name, path]) => `export * as ${JSON.stringify(name)} from ${JSON.stringify(path)};`);
  return { contents: lines.join("\n"), resolveDir: root };
}

function wrapCore(body) {
  const made = `((module)=>{"use strict";${body}return module.exports})({})`;
  return `(globalThis.${REGISTRY}??={views:{},loading:{}}).modules??=${made};\n`;
}

function wrapView(kind, body) {
  const made = `((require,module)=>{${body}return module.exports.default})((name)=>globalThis.${REGISTRY}.modules[name],{})`;
  return `globalThis.${REGISTRY}.views.${kind}??=${made};\n`;
}

function textOf({ outputFiles: [file] }) {
  return file.text;
}

/** The files with the object's name, which says what is in all of them. */
function named(texts) {
  const digest = createHash("sha256");
  for (const [name, text] of texts) digest.update(`\0${name}\0${text}`);
  const registry = `mechwidgets_${digest.digest("hex").slice(0, 12)}`;
  return new Map([...texts].map(([name, text]) => [name, text.replaceAll(REGISTRY, registry)]));
}
