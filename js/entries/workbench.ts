import { define } from "../hosts/anywidget";
import { workbench } from "../views/workbench";

export default define("workbench", workbench);
