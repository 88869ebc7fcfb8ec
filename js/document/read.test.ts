/** The cases are those that tests/share/documents.py writes, on which Python is tested too. */
import { describe, expect, it, onTestFinished, vi } from "vitest";
import cases from "../../tests/fixtures/documents.json";
import { canonical } from "./canonical";
import { DocumentError, readDocument } from "./read";
import { schemaError } from "./schema";
import { checksum, sha256 } from "./sha256";

const good = cases[0]?.text ?? "";

const array = (shape: number[], values: number[]) => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

describe("a document", () => {
  it.each(cases)("$name", async ({ text, reason }) => {
    if (reason === null) {
      expect((await readDocument(text)).views).toHaveLength(2);
      return;
    }
    const error = await readDocument(text).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(DocumentError);
    expect((error as Error).message).toMatch(new RegExp(reason));
  });

  it("has its arrays, its answers and its states", async () => {
    const { views, shared, shown } = await readDocument(good);
    expect(shown).toEqual(["view-1", "view-2"]);
    expect(shared[0]?.traits.layer).toBe(3);
    const [first] = views;
    expect(first?.traits.array).toEqual(array([2, 3], [0, 1, 2, 3, 4, 5]));
    expect(first?.answers).toEqual([
      {
        name: "patterns",
        args: { heads: [[0, 1]] },
        value: { patterns: [array([2], [Number.NaN, 0.5])] },
      },
    ]);
    expect(first?.states[0]?.traits.array).toEqual(array([2, 3], [1, 1, 1, 1, 1, 1]));
    expect(first?.traits.title).toBe("</script><script>alert(1)</script>");
  });

  it("is not taken when any character of its content is changed", async () => {
    const whole = await readDocument(good);
    const start = good.indexOf('"content"');
    // Every place would take minutes.
    const places = Array.from({ length: 150 }, (_, at) => start + ((at * 7919) % (good.length - start)));
    for (const at of places) {
      for (const put of ["", "0", "a", '"', "\u0000"]) {
        const text = good.slice(0, at) + put + good.slice(at + 1);
        if (text === good) continue;
        const read = await readDocument(text).catch((error: unknown) => error);
        // A number may be written in another way: 0.0 is -0.0.
        if (!(read instanceof DocumentError)) expect(read, `${at} ${put}`).toEqual(whole);
      }
    }
  });

  it.each([
    "null",
    "0",
    '"text"',
    "true",
    "[]",
    "{}",
    '{"mechwidgets": null}',
    '{"mechwidgets": {}, "content": []}',
  ])("%s is none", async (text) => {
    await expect(readDocument(text)).rejects.toBeInstanceOf(DocumentError);
  });
});

describe("the checksum", () => {
  it.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 100_000])("of %i bytes is SHA-256", async (length) => {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 31 + length) % 256);
    expect(sha256(bytes)).toBe(await checksum(bytes));
  });

  it("is of one form of JSON", () => {
    const value = { b: [1.0, -0, 1e-7, 1e21, 0.1], a: { "\uff5e": null, "\u{1f600}": "é\u2028\u007f</" } };
    expect(canonical(value)).toBe(
      '{"a":{"\\ud83d\\ude00":"\\u00e9\\u2028\\u007f</","\\uff5e":null},"b":[1,0,1e-7,1e+21,0.1]}',
    );
    expect(canonical(JSON.parse(canonical(value)))).toBe(canonical(value));
  });
});

it("a document is read on a page without the browser's own checksum", async () => {
  vi.stubGlobal("crypto", {});
  onTestFinished(() => void vi.unstubAllGlobals());
  expect((await readDocument(good)).views).toHaveLength(2);
  await expect(readDocument(good.replace(" Mary", " John"))).rejects.toThrow("checksum");
});

describe("the schema's checks", () => {
  it.each([
    [{ type: "integer" }, 1.5, "expected integer"],
    [{ type: ["string", "null"] }, 1, "string or null"],
    [{ type: "object" }, [], "expected object"],
    [{ required: ["toString"] }, {}, "no toString"],
    [{ properties: { a: { type: "string" } } }, { a: 1 }, "$.a"],
    [{ additionalProperties: false }, { constructor: 1 }, "constructor"],
    [{ items: { minimum: 0 } }, [1, -1], "$[1]"],
    [{ pattern: "^a$" }, "b", "^a$"],
    [{ minLength: 1 }, "", "shorter"],
    [{ maxLength: 1 }, "ab", "longer"],
    [{ minItems: 1 }, [], "fewer"],
    [{ enum: ["a"] }, "b", "one of a"],
  ])("%j of %j", (schema, value, error) => {
    expect(schemaError(value, schema)).toContain(error);
  });

  it("do not pass over what they do not know", () => {
    expect(() => schemaError(1, { maximum: 2 })).toThrow("maximum");
  });
});
