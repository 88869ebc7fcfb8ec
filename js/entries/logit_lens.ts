import { define } from "../hosts/anywidget";
import { logitLens } from "../views/logit_lens";

export default define("logit_lens", logitLens);
