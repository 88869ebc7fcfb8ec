/** The browser that tests and screenshots run in: the system's Chromium, or the one that Playwright has installed. */
import { existsSync } from "node:fs";

const CANDIDATES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

/** @returns {{ executablePath: string | undefined, args: string[] }} */
export function launchOptions() {
  const executablePath = process.env.CHROMIUM_PATH || CANDIDATES.find((path) => existsSync(path));
  return { executablePath, args: ARGUMENTS };
}
