/** As much of JSON Schema as our schema uses. A compiled validator would need eval, which pages forbid, or be larger than all else. */

export type Schema = Readonly<Record<string, unknown>>;

type Check = (value: unknown, rule: unknown, schema: Schema, at: string, root: Schema) => string | null;

const SAID = new Set(["$schema", "$defs", "title", "description"]);

/** What is wrong with a value and where, or null. Throws for a schema that says more than is understood here. */
export function schemaError(value: unknown, schema: Schema, root: Schema = schema, at = "$"): string | null {
  for (const [name, rule] of Object.entries(schema)) {
    const check = CHECKS[name];
    if (!check && !SAID.has(name)) throw new Error(`The schema uses ${name}, which is not understood.`);
    const error = check?.(value, rule, schema, at, root) ?? null;
    if (error) return error;
  }
  return null;
}

const CHECKS: Readonly<Record<string, Check>> = {
  $ref: (value, rule, _, at, root) => {
    const name = String(rule).replace("#/$defs/", "");
    const definitions = root.$defs as Record<string, Schema>;
    return schemaError(value, definitions[name] as Schema, root, at);
  },
  type: (value, rule, _, at) =>
    [rule].flat().some((type) => isOfType(value, String(type)))
      ? null
      : `at ${at}: expected ${[rule].flat().join(" or ")}`,
  enum: (value, rule, _, at) =>
    (rule as unknown[]).includes(value)
      ? null
      : `at ${at}: expected one of ${(rule as unknown[]).join(", ")}`,
  required: (value, rule, _, at) => {
    const missing = isObject(value) && (rule as string[]).find((name) => !Object.hasOwn(value, name));
    return missing ? `at ${at}: it has no ${missing}` : null;
  },
  properties: (value, rule, _, at, root) => {
    if (!isObject(value)) return null;
    const known = Object.entries(rule as Record<string, Schema>).filter(([name]) =>
      Object.hasOwn(value, name),
    );
    return first(known, ([name, part]) => schemaError(value[name], part, root, `${at}.${name}`));
  },
  additionalProperties: (value, rule, schema, at, root) => {
    if (!isObject(value)) return null;
    const more = Object.keys(value).filter(
      (name) => !Object.hasOwn((schema.properties as object) ?? {}, name),
    );
    return first(more, (name) =>
      rule === false
        ? `at ${at}: it has ${name.slice(0, 40)}, which is not known`
        : schemaError(value[name], rule as Schema, root, `${at}.${name.slice(0, 40)}`),
    );
  },
  items: (value, rule, _, at, root) =>
    Array.isArray(value)
      ? first([...value.keys()], (index) =>
          schemaError(value[index], rule as Schema, root, `${at}[${index}]`),
        )
      : null,
  minItems: (value, rule, _, at) =>
    Array.isArray(value) && value.length < Number(rule) ? `at ${at}: it has fewer than ${rule}` : null,
  minimum: (value, rule, _, at) =>
    typeof value === "number" && value < Number(rule) ? `at ${at}: it is less than ${rule}` : null,
  minLength: (value, rule, _, at) =>
    typeof value === "string" && value.length < Number(rule) ? `at ${at}: it is shorter than ${rule}` : null,
  maxLength: (value, rule, _, at) =>
    typeof value === "string" && value.length > Number(rule) ? `at ${at}: it is longer than ${rule}` : null,
  pattern: (value, rule, _, at) =>
    typeof value === "string" && !new RegExp(String(rule), "u").test(value)
      ? `at ${at}: it is not as ${rule} says`
      : null,
};

function first<T>(things: readonly T[], error: (thing: T) => string | null): string | null {
  for (const thing of things) {
    const found = error(thing);
    if (found) return found;
  }
  return null;
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      // JSON Schema's other names are JavaScript's.
      return typeof value === type;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
