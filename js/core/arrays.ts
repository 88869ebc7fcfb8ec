/**
 * Arrays on the wire: {dtype, shape, data} in a trait, {dtype, shape, buffer} in a message, C order and little endian.
 * The twin of mechwidgets/share/arrays.py.
 */

interface TypedArrays {
  uint8: Uint8Array;
  int32: Int32Array;
  float32: Float32Array;
}

export type DType = keyof TypedArrays;

export interface NdArray<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: TypedArrays[D];
}

const CONSTRUCTORS = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array } as const;
/** An array's bytes: a trait's DataView, or a view that the host of a saved document made. */
type Bytes = ArrayBufferView | ArrayBuffer;

export function isArray(value: unknown): value is NdArray {
  return isRecord(value) && "dtype" in value && "shape" in value && ArrayBuffer.isView(value.data);
}

/** Replaces every wire array inside `value`; what holds none is returned as it is. */
export function decodeArrays(value: unknown, buffers: readonly Bytes[] = []): unknown {
  if (Array.isArray(value)) return decodeList(value, buffers);
  if (!isRecord(value)) return value;
  if ("dtype" in value && "shape" in value) return decodeArray(value, buffers);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decodeArrays(item, buffers)]));
}

function decodeList(list: readonly unknown[], buffers: readonly Bytes[]): unknown {
  const holdsObjects = list.some((item) => typeof item === "object" && item !== null);
  return holdsObjects ? list.map((item) => decodeArrays(item, buffers)) : list;
}

function decodeArray(wire: Record<string, unknown>, buffers: readonly Bytes[]): NdArray {
  const { dtype, shape } = wire;
  if (!isDType(dtype)) {
    throw new TypeError(`An array has dtype ${String(dtype)}; expected uint8, int32 or float32.`);
  }
  if (!isShape(shape)) {
    throw new TypeError(`An array has shape ${JSON.stringify(shape)}; expected whole numbers from 0 up.`);
  }
  const bytes = "buffer" in wire ? buffers[Number(wire.buffer)] : wire.data;
  if (!isBytes(bytes)) throw new TypeError(`A ${dtype} array of shape [${shape}] came without its bytes.`);
  return { dtype, shape, data: typedArray(dtype, shape, bytes) };
}

/** Copies: the bytes may start anywhere in their buffer, and a typed array must start at a multiple of its item size. */
function typedArray(dtype: DType, shape: readonly number[], bytes: Bytes): TypedArrays[DType] {
  const Constructor = CONSTRUCTORS[dtype];
  const expected = shape.reduce((size, length) => size * length, Constructor.BYTES_PER_ELEMENT);
  if (bytes.byteLength !== expected) {
    throw new RangeError(
      `A ${dtype} array of shape [${shape}] needs ${expected} bytes; ${bytes.byteLength} arrived.`,
    );
  }
  const source =
    bytes instanceof ArrayBuffer
      ? new Uint8Array(bytes)
      : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new Constructor(source.slice().buffer);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
}

function isDType(value: unknown): value is DType {
  return typeof value === "string" && Object.hasOwn(CONSTRUCTORS, value);
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((length) => Number.isInteger(length) && length >= 0);
}

function isBytes(value: unknown): value is Bytes {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}
