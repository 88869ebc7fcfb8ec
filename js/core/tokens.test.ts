import { expect, it } from "vitest";
import { formatChange, formatNumber } from "./format";
import { quoteToken, shorten, tokenLabel } from "./tokens";

it.each([
  [" Mary", "·Mary"],
  ["  ", "··"],
  ["a b", "a b"],
  ["", "∅"],
  ["\n\n", "⏎⏎"],
  ["\tx\r", "⇥x␍"],
  ["\u0000\u001b\u007f", "␀␛␡"],
  ["a\u00a0b", "a⍽b"],
  ["\u200b\u202eabc", "‹U+200B›‹U+202E›abc"],
  ["\u061c\u3164\u{e0041}", "‹U+061C›‹U+3164›‹U+E0041›"],
  ["👩\u200d👧", "👩\u200d👧"],
  ["\u200d", "‹U+200D›"],
  ["\ufffd", "\ufffd"],
  ["<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"],
])("labels the token %j as %j", (token, label) => {
  expect(tokenLabel(token)).toBe(label);
});

it("quotes a token with its spaces", () => {
  expect(quoteToken(" gave")).toBe("' gave'");
  expect(quoteToken("\n")).toBe("'⏎'");
});

it("keeps a token from right to left apart from the sentence around it", () => {
  expect(quoteToken(" שלום")).toBe("\u2068' שלום'\u2069");
  expect(quoteToken("مرحبا")).toBe("\u2068'مرحبا'\u2069");
  expect(shorten(quoteToken("שלום עולם"), 6)).toBe("\u2068'שלו…\u2069");
});

it("shortens by characters, not by halves of them", () => {
  expect(shorten("😀😀😀", 3)).toBe("😀😀😀");
  expect(shorten("😀😀😀", 2)).toBe("😀…");
});

it.each([
  [0.8349, "0.835"],
  [0.83, "0.83"],
  [12.345, "12.3"],
  [1, "1"],
  [100, "100"],
  [123456, "123456"],
  [-1230000, "−1.23e+6"],
  [0.0001, "0.0001"],
  [9.999, "10"],
  [0, "0"],
  [0.00041234, "0.000412"],
  [1e-9, "1e-9"],
  [-5.487, "−5.49"],
  [Number.NaN, "no value"],
  [Number.NEGATIVE_INFINITY, "−∞"],
])("writes %d with three significant digits: %s", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

it.each([
  [0.12, "+0.120"],
  [-0.0312, "−0.031"],
  [0.0001, "0.000"],
  [-0.0001, "0.000"],
  [-1, "−1.000"],
])("writes the change %d as %s", (value, text) => {
  expect(formatChange(value)).toBe(text);
});
