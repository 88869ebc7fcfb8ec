/** An exercise about the recorded attention picture. */
import attentionFixture from "../../../tests/fixtures/attention.json";
import recorded from "../../../tests/fixtures/exercise.json";
import type { FakePort } from "../../test/fake_port";
import { fixturePort } from "../../test/fixture";
import { attention } from "../attention";
import type { Traits } from "./traits";

export function samplePort(changes: Partial<Traits> = {}): FakePort<Traits> {
  const port = fixturePort<Traits>(recorded);
  port.update(changes);
  port.addChild("IPY_MODEL_attention", "attention", attention, fixturePort(attentionFixture));
  return port;
}
