/** A picture as Python wrote it into tests/fixtures/<kind>.json, as a Port. */
import { decodeArrays } from "../core/arrays";
import { RequestError } from "../core/port";
import { type Answerer, FakePort } from "./fake_port";

export interface Fixture {
  traits: Record<string, unknown>;
  replies: { name: string; args: object; value: unknown }[];
}

/** Answers each request with the reply that was recorded for its very arguments. */
export function fixturePort<Traits extends object>(fixture: Fixture): FakePort<Traits> {
  const traits = decodeArrays(withBytes(fixture.traits)) as Traits;
  const names = new Set(fixture.replies.map(({ name }) => name));
  const answerers = [...names].map((name): [string, Answerer] => [
    name,
    (args) => {
      const reply = fixture.replies.find(
        (one) => one.name === name && canonical(one.args) === canonical(args),
      );
      if (!reply)
        throw new RequestError(`The fixture has no reply to ${name} ${canonical(args)}.`, "LookupError");
      return decodeArrays(withBytes(reply.value));
    },
  ]);
  return new FakePort(traits, Object.fromEntries(answerers));
}

/** Arrays in a fixture carry base64 where the wire carries bytes. */
export function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes);
  if (typeof value !== "object" || value === null) return value;
  if ("dtype" in value && "data" in value && typeof value.data === "string") {
    return { ...value, data: Uint8Array.from(atob(value.data), (character) => character.charCodeAt(0)) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withBytes(item)]));
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([one], [other]) => (one < other ? -1 : 1)))
      : item,
  );
}
