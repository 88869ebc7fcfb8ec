import { describe, expect, it } from "vitest";
import { decodeArrays, isArray, type NdArray } from "./arrays";

/** The bytes of `numbers` as a DataView that starts at an odd place in its buffer. */
function oddView(numbers: Float32Array): DataView {
  const buffer = new ArrayBuffer(numbers.byteLength + 3);
  new Uint8Array(buffer, 3).set(new Uint8Array(numbers.buffer));
  return new DataView(buffer, 3);
}

describe("decodeArrays", () => {
  it("reads a trait's array from a view at an odd byte offset", () => {
    const wire = { dtype: "float32", shape: [2, 2], data: oddView(Float32Array.of(1, 2.5, -3, 0)) };
    const array = decodeArrays(wire) as NdArray<"float32">;
    expect(array.data).toBeInstanceOf(Float32Array);
    expect([...array.data]).toEqual([1, 2.5, -3, 0]);
    expect(isArray(array)).toBe(true);
  });

  it("reads a message's arrays from its buffers, however deep they lie", () => {
    const wire = {
      done: 3,
      cells: { dtype: "int32", shape: [1, 2], buffer: 1 },
      more: [{ mask: { dtype: "uint8", shape: [3], buffer: 0 } }],
    };
    const buffers = [new DataView(Uint8Array.of(7, 8, 9).buffer), new DataView(Int32Array.of(4, -5).buffer)];
    const value = decodeArrays(wire, buffers) as {
      cells: NdArray<"int32">;
      more: { mask: NdArray<"uint8"> }[];
    };
    expect([...value.cells.data]).toEqual([4, -5]);
    expect([...(value.more[0]?.mask.data ?? [])]).toEqual([7, 8, 9]);
  });

  it("copies, so that a message's memory is not kept", () => {
    const bytes = Uint8Array.of(1, 2);
    const array = decodeArrays({ dtype: "uint8", shape: [2], data: new DataView(bytes.buffer) }) as NdArray;
    bytes[0] = 99;
    expect(array.data[0]).toBe(1);
  });

  it("leaves everything else as it is", () => {
    const tokens = [" a", "\n"];
    expect(decodeArrays({ tokens, none: null, layer: 4 })).toEqual({ tokens, none: null, layer: 4 });
    expect(decodeArrays(tokens)).toBe(tokens);
  });

  it("reads an array without items", () => {
    const array = decodeArrays({ dtype: "float32", shape: [0, 4], data: new DataView(new ArrayBuffer(0)) });
    expect(isArray(array) && array.data.length).toBe(0);
  });

  it.each([
    [{ dtype: "float32", shape: [3], data: new DataView(new ArrayBuffer(8)) }, /needs 12 bytes; 8 arrived/],
    [{ dtype: "float64", shape: [1], data: new DataView(new ArrayBuffer(8)) }, /dtype float64/],
    [{ dtype: "toString", shape: [1], data: new DataView(new ArrayBuffer(8)) }, /dtype toString/],
    [{ dtype: "uint8", shape: [-1], data: new DataView(new ArrayBuffer(1)) }, /shape \[-1\]/],
    [{ dtype: "uint8", shape: [1], buffer: 4 }, /without its bytes/],
  ])("says what is wrong with %o", (wire, message) => {
    expect(() => decodeArrays(wire)).toThrow(message);
  });
});
