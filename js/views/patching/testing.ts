/** What the tests of this view do as a reader would. */
import { page, userEvent } from "vitest/browser";
import { painted } from "../../test/dom";
import type { Picture } from "../../test/picture";

/** Chooses an option of the list with this label. */
export async function select(picture: Picture, label: string, option: string): Promise<void> {
  const name = [...picture.root.querySelectorAll("label")].find(({ textContent }) => textContent === label);
  const list = picture.find<HTMLSelectElement>(`#${CSS.escape(name?.htmlFor ?? "none")}`);
  await userEvent.selectOptions(page.elementLocator(list), option);
  await painted();
}
