/** A change to a model's run, as it travels: change what, where, to what. The twin of mechwidgets/model/intervention.py. */

export interface Intervention {
  site: string;
  layer: number;
  /** null: all of them. */
  head: number | null;
  position: number | null;
  op: "zero" | "patch" | "add";
  value: unknown;
}

/** A head whose output is set to zero. */
export function switchOff(layer: number, head: number): Intervention {
  return { site: "z", layer, head, position: null, op: "zero", value: null };
}

export function isHeadOff(interventions: readonly Intervention[], layer: number, head: number): boolean {
  return interventions.some((change) => switchesOff(change, layer, head));
}

/** The list with the head switched off, or on again if it was off. */
export function toggleHead(
  interventions: readonly Intervention[],
  layer: number,
  head: number,
): Intervention[] {
  const others = interventions.filter((change) => !switchesOff(change, layer, head));
  return others.length < interventions.length ? others : [...others, switchOff(layer, head)];
}

export function headName(layer: number, head: number): string {
  return `L${layer}H${head}`;
}

/** A change in a few characters: "L4H7" for a head switched off, else what, where and how. */
export function interventionLabel({ site, layer, head, position, op }: Intervention): string {
  const where = head === null ? `L${layer}` : headName(layer, head);
  if (site === "z" && head !== null && position === null && op === "zero") return where;
  const at = position === null ? "" : ` at ${position}`;
  return `${op} ${site} ${where}${at}`;
}

function switchesOff(change: Intervention, layer: number, head: number): boolean {
  return (
    change.site === "z" &&
    change.op === "zero" &&
    change.position === null &&
    change.layer === layer &&
    change.head === head
  );
}
