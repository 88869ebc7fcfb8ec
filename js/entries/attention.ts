import { define } from "../hosts/anywidget";
import { attention } from "../views/attention";

export default define("attention", attention);
