/** What screenshots are taken of (see js/test/screenshots.mjs). */
import type { Scene } from "../../test/scenes";
import { exercise } from ".";
import { samplePort } from "./sample";

const ANSWERS = [
  { layer: 23, head: 3, right: true, feedback: "" },
  {
    layer: 0,
    head: 0,
    right: false,
    feedback: "It attends to the token itself, whatever that is; look for one that goes back.",
  },
];

export const SCENES: Readonly<Record<string, Scene>> = {
  exercise: (_, show) => show("exercise", exercise, samplePort()),
  "exercise-answered": (_, show) =>
    show("exercise", exercise, samplePort({ layer: 11, head: 1, answers: ANSWERS })),
};
