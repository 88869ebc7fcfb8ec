import { define } from "../hosts/anywidget";
import { patching } from "../views/patching";

export default define("patching", patching);
